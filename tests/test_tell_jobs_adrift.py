"""Jobs adrift, from the record to the pages: what a look finds, who is told, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from jobs import live, scopes
from jobs.access import Span
from jobs.adrift import reading, telling
from jobs.models import (
    Bucket,
    Cluster,
    Gap,
    Heartbeat,
    Job,
    Outgoing,
    Pause,
    Position,
    Quarantine,
    QueueSample,
    Revocation,
    Standing,
    Worker,
)
from jobs.rollups import Sketches
from jobs.scopes import Scope
from jobs.worker_facts import worker_facts
from tests.api import program
from tests.setups import EARLY, LATE
from workers.monitor import adrift as loop
from workers.monitor.adrift import DriftLook

pytestmark = pytest.mark.django_db


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


@pytest.fixture(autouse=True)
def _sighted() -> None:
    """A monitor and a broker at work, and a record that is up to date."""
    heartbeat("monitor", leading=True, lag=0.1)
    heartbeat("broker", ok=True)
    Position.objects.create(source="stream", committed_at=ago(0), last_event_at=ago(0), lag=0.1)


def heartbeat(name: str, seconds_ago: float = 0.0, **detail: object) -> None:
    facts = {"at": ago(seconds_ago), "host": "h", "pid": 1, "detail": orjson.dumps(detail).decode()}
    Heartbeat.objects.update_or_create(name=name, defaults=facts)


def worker(name: str = "w@h", silent: float = 0.0, setup: dict[str, Any] = LATE, **facts: Any) -> Worker:
    known = {"producer": f"{name} {silent}", "queues": "high", "events": True, "faults": 0, "dropped": 0}
    times = {"seen_at": ago(silent), "online_at": ago(20_000)}
    told = worker_facts({"setup": setup})["setup"]
    return Worker.objects.create(name=name, setup=told, busy=1, **{**known, **times, **facts})


def running(task_id: str = "r", seconds: float = 600.0, **facts: Any) -> Job:
    taken = {"received_at": ago(seconds), "started_at": ago(seconds)}
    return _open(task_id, **{"state": "running", "worker": "w@h", "attempts": 1, **taken, **facts})


def waiting(task_id: str = "q", seconds: float = 9_000.0, **facts: Any) -> Job:
    return _open(task_id, **{"state": "queued", "published_at": ago(seconds), **facts})


def _open(task_id: str, **facts: Any) -> Job:
    known = {"task": "shop.pay", "queue": "high", "seen_at": ago(0), **facts}
    job = Job.objects.create(task_id=task_id, **known)
    Standing.objects.create(job=job, state=job.state, queue=job.queue, task=job.task)
    return job


def lost() -> Job:
    """A job whose message is gone, and one that has passed it."""
    worker()
    job = waiting()
    Job.objects.create(
        task_id="later", task="shop.pay", queue="high", state="succeeded", attempts=1, seen_at=ago(0),
        published_at=ago(3_000),
    )  # fmt: skip
    QueueSample.objects.create(queue="high", at=ago(5), depth=7)
    QueueSample.objects.create(queue="high", at=ago(90), depth=0)
    return job


@pytest.mark.parametrize("what", ["stuck", "orphaned"])
def test_a_job_whose_end_may_be_among_the_missing_events_is_not_told(what: str) -> None:
    worker("w@h", silent=120 if what == "orphaned" else 0)
    running("r", 1_300, task="shop.report")
    usual("shop.report", *[1.0] * 60)
    assert found() == [("r", what)]
    Gap.objects.create(source="s", reason="cap", began_at=ago(800), ended_at=ago(700))
    assert found() == []


def test_a_heap_of_jobs_from_before_a_gap_hides_none_that_came_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "MOST_OPEN", 8)
    monkeypatch.setattr(reading, "MOST_WAITING", 8)
    monkeypatch.setattr(reading, "TOLD_LATE", 1)
    worker("back@h", silent=120, queues="low")
    for number in range(30):
        running(f"r{number}", 12_000 - number, worker="back@h")
        waiting(f"q{number}", 12_000 - number, seen_at=ago(12_000 - number))
    Gap.objects.create(source="s", reason="cap", began_at=ago(11_000), ended_at=ago(10_000))
    running("r", 900, worker="back@h", published_at=ago(900))
    lost()
    assert sorted(found()) == [("q", "lost"), ("r", "orphaned")]


def test_a_job_is_lost_though_its_queue_is_empty_to_this_moment() -> None:
    lost()
    QueueSample.objects.all().delete()
    for seconds in range(0, 300, 5):
        QueueSample.objects.create(queue="high", at=ago(seconds), depth=0)
    assert found() == [("q", "lost")]


def test_many_queues_that_were_empty_hide_none(monkeypatch: pytest.MonkeyPatch) -> None:
    lost()
    for number in range(40):
        QueueSample.objects.create(queue=f"a{number}", at=ago(90), depth=0)
    assert found() == [("q", "lost")]
    monkeypatch.setattr(reading, "MOST_QUEUES", 40)
    looked = reading.look(Cluster.DEFAULT_ID, ago(0))
    assert looked == reading.Looked([], more=True)


def test_many_orphans_leave_room_for_the_other_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "MOST_GROUPS", 3)
    lost()
    for number in range(5):
        worker(f"back{number}@h", silent=120, queues="low")
        worker(f"back{number}@h", queues="low", online_at=ago(100))
        running(f"r{number}", worker=f"back{number}@h", queue="low")
    told = [(row["what"], row["facts"]["more"]) for row in overview()["needs"]["rows"]]
    assert sorted(told) == [("lost", 1), *[("orphaned", 1)] * 3]


def usual(task: str, *runs: float) -> None:
    sketches = Sketches()
    for seconds in runs:
        sketches.at("succeeded", "run").add(seconds)
    today = int(ago(0).timestamp() // Bucket.DAY)
    Bucket.objects.create(
        tier=Bucket.DAY, start=today, task=task, queue="high", sketches=sketches.dumps(), succeeded=len(runs)
    )


def found() -> list[tuple[str, str]]:
    looked = reading.look(Cluster.DEFAULT_ID, ago(0))
    assert looked is not None
    return [(job.task_id, finding.what) for job, finding in looked.found]


def monitor_looks() -> None:
    looked = reading.look(Cluster.DEFAULT_ID, ago(0))
    assert looked is not None
    heartbeat(telling.NAME, **telling.told(looked))


def overview(scope: Scope = scopes.EVERYTHING) -> dict[str, Any]:
    """The overview after the monitor has looked."""
    monitor_looks()
    return live.overview(Cluster.DEFAULT_ID, scopes.known(scope), ago(0))


def needs(**options: Any) -> list[tuple[str, str, Any]]:
    return [(row["what"], row["name"], row["facts"]["value"]) for row in overview(**options)["needs"]["rows"]]


# What a look finds


def test_a_look_finds_each_kind() -> None:
    lost()
    worker("gone@h", silent=120)
    worker("slow@h")
    running("orphan", worker="gone@h")
    running("held", state="received", started_at=None, worker="gone@h")
    running("stuck", 1_300, worker="slow@h", task="shop.report")
    running("well", 20, worker="slow@h")
    usual("shop.report", *[1.0] * 60)
    assert sorted(found()) == [
        ("held", "orphaned"),
        ("orphan", "orphaned"),
        ("q", "lost"),
        ("stuck", "stuck"),
    ]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda: Heartbeat.objects.filter(name="monitor").update(at=ago(60)),
        lambda: heartbeat("broker", ok=False),
        lambda: heartbeat("monitor", leading=True, lag=25.0),
    ],
)
def test_nothing_is_said_while_nothing_can_be_seen(spoil: Callable[[], object]) -> None:
    lost()
    running(worker="gone@h")
    worker("gone@h", silent=120)
    spoil()
    assert reading.look(Cluster.DEFAULT_ID, ago(0)) is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda: QueueSample.objects.all().delete(),
        lambda: QueueSample.objects.filter(depth=0).update(depth=1),
        lambda: QueueSample.objects.filter(depth=0).update(depth=None),
        lambda: QueueSample.objects.filter(depth=0).update(at=ago(900)),
        lambda: Pause.objects.create(queue="high", who="ana", since=ago(60)),
        lambda: Gap.objects.create(source="s", reason="cap", began_at=ago(800), ended_at=ago(700)),
        lambda: Quarantine.objects.create(
            reason="r", count=1, first_at=ago(80), last_at=ago(70), sample="{}"
        ),
        lambda: Job.objects.filter(task_id="later").update(attempts=0),
        lambda: Job.objects.filter(task_id="later").update(published_at=ago(9_500)),
        lambda: Worker.objects.update(queues="low"),
        lambda: Worker.objects.update(seen_at=ago(90)),
        lambda: worker("another@h", silent=7_000, events=False),
        lambda: worker("another@h", silent=7_000, queues=None, dropped=3),
        lambda: Outgoing.objects.create(
            task_id="q", task="shop.pay", queue="high", body="[]", due_at=ago(0), created_at=ago(0)
        ),
        lambda: Job.objects.filter(task_id="q").update(attempts=1),
        lambda: Job.objects.filter(task_id="q").update(eta=ago(0)),
    ],
)  # fmt: skip
def test_a_job_whose_message_may_be_somewhere_is_not_told_as_lost(spoil: Callable[[], object]) -> None:
    lost()
    assert found() == [("q", "lost")]
    spoil()
    assert found() == []


def test_a_look_takes_as_many_statements_for_many_jobs_as_for_one() -> None:
    lost()
    worker("gone@h", silent=120)
    running("r0", worker="gone@h")
    with CaptureQueriesContext(connection) as few:
        assert len(found()) == 2
    for number in range(1, 60):
        running(f"r{number}", worker="gone@h")
        waiting(f"q{number}")
    Job.objects.filter(task_id="later").update(id=10**6)
    with CaptureQueriesContext(connection) as many:
        assert len(found()) == 120
    assert len(few) == len(many) <= 16


def test_beyond_what_a_look_reads_it_says_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_OPEN", 3)
    for number in range(5):
        running(f"r{number}", worker="gone@h")
    worker("gone@h", silent=90_000, producer="gone")
    row = overview()["needs"]["rows"][0]
    assert (row["what"], row["facts"]["value"], row["facts"]["more"]) == ("orphaned", 3, 1)


def test_what_one_look_alone_has_seen_is_not_told() -> None:
    worker("gone@h", silent=120)
    running("r", worker="gone@h")
    first, later = (reading.look(Cluster.DEFAULT_ID, ago(0)) for _ in range(2))
    assert first is not None
    assert later is not None
    assert loop.seen_twice(first, later).found == later.found
    assert loop.seen_twice(reading.Looked([], False), later).found == []


def test_the_loop_tells_after_two_looks_and_says_which_jobs_moved() -> None:
    worker("gone@h", silent=120)
    job = running("r", worker="gone@h")
    moved: list[set[int]] = []
    looks = DriftLook(leading=lambda: True, changed=lambda ids: moved.append(set(ids)))
    looks.turn()
    assert not Heartbeat.objects.filter(name="adrift").exists()
    looks.turn()
    looks.turn()
    assert moved == [{job.pk}]
    Job.objects.filter(pk=job.pk).update(state="succeeded")
    looks.turn()
    assert moved == [{job.pk}, {job.pk}]
    assert orjson.loads(Heartbeat.objects.get(name="adrift").detail)["groups"] == []


def test_a_monitor_that_does_not_lead_tells_nothing() -> None:
    running("r", worker="gone@h")
    worker("gone@h", silent=120)
    looks = DriftLook(leading=lambda: False, changed=lambda _: None)
    looks.turn()
    looks.turn()
    assert not Heartbeat.objects.filter(name="adrift").exists()


# What the overview tells


def test_lost_and_stuck_jobs_need_somebody_and_what_is_alike_is_one_row() -> None:
    lost()
    waiting("q2", 8_000)
    Job.objects.filter(task_id="later").update(id=10**6)
    worker("slow@h", queues="low")
    for number in range(2):
        running(f"stuck{number}", 1_300, worker="slow@h", task="shop.report", queue="low")
    usual("shop.report", *[1.0] * 60)
    rows = overview()["needs"]["rows"]
    assert [(row["what"], row["name"], row["facts"]["value"]) for row in rows] == [
        ("lost", "high", 2),
        ("stuck", "shop.report", 2),
    ]
    assert {row["severity"] for row in rows} == {"warn"}


def test_the_row_of_a_dead_worker_tells_the_story_of_its_jobs() -> None:
    worker("gone@h", silent=120)
    running("r", worker="gone@h")
    assert [what for what, _, _ in needs()] == ["worker dead"]


def test_jobs_of_a_worker_that_came_back_are_orphaned() -> None:
    worker(silent=120)
    worker(silent=0.0, online_at=ago(100))
    running("r1")
    running("r2", task="shop.mail")
    frame = overview()
    (row,) = frame["needs"]["rows"]
    assert (row["what"], row["name"], row["facts"]["value"]) == ("orphaned", "w@h", 2)
    assert row["facts"]["next"] == "again"
    assert row["oldest"] == Job.objects.get(task_id="r1").pk
    assert frame["word"] == "drifting"


def test_what_was_told_a_while_ago_is_not_told_any_more() -> None:
    lost()
    assert overview()["needs"]["total"] == 1
    Heartbeat.objects.filter(name="adrift").update(at=ago(61))
    assert live.overview(Cluster.DEFAULT_ID, "all", ago(0))["needs"]["rows"] == []


def test_who_may_not_see_a_job_is_not_told_of_it() -> None:
    lost()
    reach = {name: Scope((Span((queue,), ("*",)),)) for name, queue in (("his", "low"), ("hers", "high"))}
    assert needs(scope=reach["his"]) == []
    assert needs(scope=reach["hers"]) == [("lost", "high", 1)]


def test_what_the_monitor_told_costs_the_overview_no_statement() -> None:
    lost()
    with CaptureQueriesContext(connection) as before:
        live.overview(Cluster.DEFAULT_ID, "all", ago(0))
    overview()
    with CaptureQueriesContext(connection) as after:
        assert live.overview(Cluster.DEFAULT_ID, "all", ago(0))["needs"]["total"] == 1
    assert len(after) == len(before)


def test_the_overview_leads_to_the_jobs(client: Client, ops: User) -> None:
    lost()
    worker("slow@h", queues="low")
    running("stuck", 1_300, worker="slow@h", task="shop.report", queue="low")
    usual("shop.report", *[1.0] * 60)
    worker("back@h", silent=120, queues="low")
    worker("back@h", queues="low", online_at=ago(100))
    orphan = running("orphan", worker="back@h", queue="low")
    overview()
    client.force_login(ops)
    said = client.get("/").content.decode()
    for address in ("?queue=high&amp;state=queued", "?task=shop.report&amp;state=running", f"/~{orphan.pk}/"):
        assert f'href="/jobs{"/" if address.startswith("?") else ""}{address}"' in said, address
    assert "has stuck jobs" in said
    for address in ("/jobs/?queue=high&state=queued", "/jobs/?task=shop.report&state=running"):
        assert client.get(address).status_code == 200
    assert client.get(f"/jobs/~{orphan.pk}/")["Location"] == "/jobs/orphan/"


def test_the_summary_to_copy_tells_of_them(client: Client, ops: User) -> None:
    lost()
    overview()
    client.force_login(ops)
    assert "`high` has lost jobs. 1 queued, with no message" in client.get("/").context["summary"]


# What the page of a job tells


def page(client: Client, ops: User, task_id: str) -> str:
    monitor_looks()
    client.force_login(ops)
    with CaptureQueriesContext(connection) as asked:
        said = client.get(f"/jobs/{task_id}/").content.decode()
    assert len(asked) <= 15, [query["sql"] for query in asked]
    return said


def test_its_page_says_when_an_orphaned_job_comes_again(client: Client, ops: User) -> None:
    worker(silent=120)
    job = running()
    said = page(client, ops, "r")
    assert "<b>Orphaned:</b>" in said
    assert "Running for" not in said
    assert "the broker hands it out again about" in said
    told = live.job(job, "all", ago(0))
    assert (told["verdict"], told["adrift"]["next"]) == ("orphaned", "again")
    assert told["adrift"]["again_at"] == pytest.approx(ago(600 - 3600).timestamp(), abs=5)


def test_its_page_says_that_an_orphaned_job_will_not_come_again(client: Client, ops: User) -> None:
    worker(silent=120, setup=EARLY)
    running()
    assert "acknowledged when it began" in page(client, ops, "r")


def test_its_page_says_since_when_a_job_is_lost_and_what_to_do(client: Client, ops: User) -> None:
    lost()
    said = page(client, ops, "q")
    assert "No message of it is left" in said
    assert "Edit and re-run makes a new job" in said


def test_its_page_says_that_a_job_is_stuck(client: Client, ops: User) -> None:
    worker()
    running(seconds=1_300)
    usual("shop.pay", *[1.0] * 60)
    assert "99 of 100 jobs" in page(client, ops, "r")
    Bucket.objects.all().delete()
    assert "<b>Stuck:</b>" not in page(client, ops, "r"), "nobody knows how long it may take"


def test_what_somebody_wished_of_a_job_comes_before_what_it_is() -> None:
    worker(silent=120)
    job = running()
    Revocation.objects.create(task_id="r", asked_at=ago(1))
    monitor_looks()
    told = live.job(job, "all", ago(0))
    assert (told["verdict"], told["adrift"]["what"]) == ("cancel pending", "orphaned")


def test_what_was_told_of_a_job_a_while_ago_is_not_on_its_page() -> None:
    worker(silent=120)
    job = running()
    monitor_looks()
    assert live.job(job, "all", ago(-50))["adrift"]["what"] == "orphaned"
    assert live.job(job, "all", ago(-70))["adrift"] is None


def test_the_api_tells_it_of_a_job() -> None:
    worker(silent=120)
    running()
    assert program("viewer").get("/jobs/r").body["adrift"] is None
    monitor_looks()
    told = program("viewer").get("/jobs/r").body["adrift"]
    assert (told["what"], told["next"], told["usual"]) == ("orphaned", "again", None)


@pytest.mark.parametrize("moved", [{"attempts": 2}, {"state": "queued"}, {"state": "succeeded"}])
def test_a_job_that_has_moved_since_is_not_adrift_any_more(moved: dict[str, Any]) -> None:
    worker(silent=120)
    job = running()
    monitor_looks()
    Job.objects.filter(pk=job.pk).update(**moved)
    job.refresh_from_db()
    assert live.job(job, "all", ago(0))["adrift"] is None


def test_the_page_of_a_job_that_is_well_says_nothing(client: Client, ops: User) -> None:
    worker()
    running(seconds=30)
    waiting(seconds=30)
    for task_id in ("r", "q"):
        assert "note-page" not in page(client, ops, task_id)
    assert all(live.job(job, "all", ago(0))["adrift"] is None for job in Job.objects.all())


def test_a_job_that_has_ended_costs_no_statement_more() -> None:
    with CaptureQueriesContext(connection) as asked:
        assert telling.of_job(Job(state="failed"), ago(0)) is None
    assert len(asked) == 0
