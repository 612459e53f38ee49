"""The palette: pages, names and job ids, within one's reach, in few statements, whatever is typed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from dashboard.finder import MOST, best
from dashboard.keys import ANYWHERE, IN_LISTS
from dashboard.pages import PAGES
from jobs.models import Job, Reach, Worker
from tests.seed import seed

pytestmark = pytest.mark.django_db


def found(client: Client, text: str, status: int = 200) -> list[dict[str, Any]]:
    answer = client.get("/find/", {"q": text}, headers={"Accept": "application/json"})
    assert answer.status_code == status
    shown: list[dict[str, Any]] = answer.json()["found"]
    return shown


def named(client: Client, text: str) -> list[tuple[str, str]]:
    return [(one["kind"], one["name"]) for one in found(client, text)]


def test_each_page_of_the_side_is_found_and_has_a_key_of_its_own(visitor: Client) -> None:
    assert [one["address"] for one in found(visitor, "")] == [reverse(page.name) for page in PAGES]
    assert len({page.key for page in PAGES}) == len(PAGES)
    side = visitor.get("/").content.decode()
    assert all(f'data-keys="g {page.key}"' in side for page in PAGES)


def test_five_pages_are_within_reach_of_a_thumb() -> None:
    assert sum(page.docked for page in PAGES) == 5


def test_the_sheet_lists_each_key_that_does_something(visitor: Client) -> None:
    sheet = visitor.get("/jobs/").content.decode()
    for key in (*ANYWHERE, *IN_LISTS):
        assert str(key.what) in sheet
        assert not key.does or f'data-keys="{key.keys}" data-does="{key.does}"' in sheet


def test_queues_tasks_workers_and_schedules_are_found_by_a_part_of_their_name(visitor: Client) -> None:
    seed(timezone.now())
    assert ("Queue", "high") in named(visitor, "HIG")
    assert ("Task", "workers.demo.tasks.sync_product") in named(visitor, "sync")
    assert ("Schedule", "sync-catalogue") in named(visitor, "sync")
    assert ("Worker", "high@ams-1") in named(visitor, "ams-1")
    for one in found(visitor, "sync") + found(visitor, "high") + found(visitor, "ams-1"):
        assert visitor.get(one["address"]).status_code == 200, one


def test_a_job_is_found_by_its_id_or_the_beginning_that_lists_show(visitor: Client) -> None:
    job = seed(timezone.now(), jobs=30)[-2]
    for text in (job.task_id, job.task_id[:8], f" {job.task_id[:8].upper()} "):
        [one] = [one for one in found(visitor, text) if one["kind"] == "Job"]
        assert one["address"] == f"/jobs/{job.task_id}/"
    Job.objects.filter(pk=job.pk).update(task_id="import of <tuesday>")
    assert found(visitor, "import of <tuesday>")[0]["address"] == f"/jobs/~{job.pk}/"


def test_a_worker_that_started_anew_is_found_once_and_one_long_gone_not_at_all(visitor: Client) -> None:
    now = timezone.now()
    for number, age in enumerate((timedelta(hours=3), timedelta(0), timedelta(days=3))):
        name = "long-gone@ams-1" if age.days else "w@ams-1"
        Worker.objects.create(producer=f"p{number}", name=name, seen_at=now - age)
    assert [one for one in named(visitor, "ams") if one[0] == "Worker"] == [("Worker", "w@ams-1")]


def test_what_begins_as_wanted_comes_first_and_no_more_than_a_few() -> None:
    names = ["shop.resync_all", "shop.sync", "sync.other", "shop.sync_product"]
    assert best(names, "sync") == ["shop.sync", "shop.sync_product", "sync.other", "shop.resync_all"]
    assert len(best([f"name-{number}" for number in range(50)], "name")) == MOST


def test_nothing_of_a_foreign_team_is_found(client: Client) -> None:
    jobs = seed(timezone.now(), jobs=120)  # of 12, none may be of queue "high": that depends on the hour
    user = User.objects.create_user("ana")
    user.groups.add(Group.objects.get(name="viewer"))
    Reach.objects.create(user=user, queues="low")
    client.force_login(user)
    assert {name for kind, name in named(client, "o") if kind == "Queue"} == {"low"}
    assert not [one for one in named(client, "sync") if one[0] in ("Task", "Schedule")]
    assert [name for kind, name in named(client, "report") if kind == "Schedule"] == ["nightly-report"]
    foreign = next(job for job in jobs if job.queue == "high")
    assert not found(client, foreign.task_id)
    assert "Triggers" not in [name for _, name in named(client, "")]


@pytest.mark.parametrize("text", ["b7e4c1d2", "sync", "nothing of that name"])
def test_finding_takes_five_statements_at_most(visitor: Client, text: str) -> None:
    seed(timezone.now())
    found(visitor, text)
    with CaptureQueriesContext(connection) as captured:
        found(visitor, text)
    of_the_record = [query["sql"] for query in captured if '"auth_' not in query["sql"]]
    assert len([sql for sql in of_the_record if "django_session" not in sql]) <= 5, of_the_record


@pytest.mark.parametrize("text", ["x" * 256, "a\x00b"])
def test_what_can_not_be_asked_is_refused_in_words(visitor: Client, text: str) -> None:
    assert found(visitor, text, 400) == []
    page = visitor.get("/find/", {"q": text})
    assert page.status_code == 400
    assert 'class="fault"' in page.content.decode()


@pytest.mark.parametrize("text", ["%", "_", "'", "\\", "\u202e", "é" * 255, "0" * 255, "fffffff", "zz-top"])
def test_whatever_is_typed_is_only_text(visitor: Client, text: str) -> None:
    seed(timezone.now(), jobs=3)
    found(visitor, text)


def test_finding_works_as_a_page_without_script(visitor: Client) -> None:
    seed(timezone.now())
    page = visitor.get("/find/", {"q": "sync"}).content.decode()
    assert 'href="/tasks/workers.demo.tasks.sync_product/"' in page
    assert "Nothing of that name" in visitor.get("/find/", {"q": "zz"}).content.decode()


def test_letters_that_turn_text_round_are_written_out_but_not_in_what_a_form_sends_back(
    visitor: Client,
) -> None:
    job = seed(timezone.now(), jobs=2)[0]
    Job.objects.filter(pk=job.pk).update(task="shop.\u202egnp.exe", task_id="id\u2066x")
    page = visitor.get("/jobs/").content.decode()
    assert "\u202e" not in page
    assert "\\u202egnp.exe" in page
    assert 'value="id\u2066x"' in page
    assert found(visitor, "id\u2066x")[0]["name"] == "id\\u2066x shop.\\u202egnp.exe"
