"""Routes: a job whose caller names no queue goes where the first fitting one says, however it is enqueued."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import chain, group
from django.contrib.auth.models import User
from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st

from jobs.models import Outgoing, Trigger
from jobs.perform import Actor, perform
from jobs.routes import Route, read_routes
from tests import django_style, tasks
from tests.harness import Installation, RedisServer, eventually
from tests.harness.processes import ROOT, python
from tests.test_schedules import every, saved
from workers import triggers
from workers.app import app, router
from workers.beat.letters import letter
from workers.brokers.redis import step_keys
from workers.checks import check_routes
from workers.commands.jobs import Run
from workers.dispatch import dispatcher
from workers.enqueue import enqueue, enqueue_many, using
from workers.signatures import route_of

QUEUES = ["default", "high", "low"]
Declare = Callable[..., None]
note = tasks.note


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Declare:
    """Have these routes alone in this process."""
    monkeypatch.setattr(router, "rules", [])
    monkeypatch.setattr(router, "_told", set())
    monkeypatch.setattr(dispatcher, "_rest_until", 0.0)
    return lambda *routes: router.declare(routes)


@pytest.fixture
def placed(redis_url: str, transactional_db: None, redis_server: RedisServer) -> Callable[..., Any]:
    """The queue and priority of what was published, once there are so many messages."""

    def read() -> list[tuple[str, int]]:
        with redis_server.client() as client:
            return [
                (queue, 9 - step)
                for queue in QUEUES
                for step, key in enumerate(step_keys(queue))
                for _ in range(int(client.llen(key)))
            ]

    return lambda jobs=1: eventually(lambda: read() if len(read()) == jobs else None, message=f"{jobs} jobs")


EACH_WAY: dict[str, Callable[[], object]] = {
    "enqueue": lambda: enqueue(note, "file", "urgent"),
    "enqueue by name": lambda: enqueue("tests.tasks.note", file="file", text="urgent"),
    "enqueue_many": lambda: enqueue_many(note, [("file", "urgent")]),
    "a canvas": lambda: enqueue(chain(note.si("file", "urgent"), note.si("file", "later"))),
    "delay": lambda: note.delay("file", "urgent"),
    "apply_async": lambda: note.apply_async(("file",), {"text": "urgent"}),
    "send_task": lambda: app.send_task("tests.tasks.note", ("file", "urgent")),
}


@pytest.mark.parametrize("way", EACH_WAY)
@pytest.mark.parametrize(
    "route",
    [
        Route("tests.tasks.note", queue="high", priority=8),
        Route("tests.*", queue="high", priority=8),
        Route(re.compile(r"(tests|shop)\.tasks\.n\w+"), queue="high", priority=8),
        Route("tests.tasks.note", queue="high", priority=8, when='text == "urgent"'),
        Route("tests.tasks.*", queue="high", priority=8, when=lambda file, text: text == "urgent"),
    ],
    ids=["name", "glob", "regex", "expression", "function"],
)
def test_each_kind_of_route_is_heard_in_each_way_to_enqueue(
    declare: Declare, placed: Callable[..., Any], route: Route, way: str
) -> None:
    declare(Route("elsewhere.*", queue="low"), route, Route("*", queue="low", priority=1))
    EACH_WAY[way]()
    assert placed() == [("high", 8)]


def test_of_many_jobs_each_goes_by_its_own_arguments(declare: Declare, placed: Callable[..., Any]) -> None:
    declare(Route("tests.tasks.note", queue="high", when='text in ["a", "c"]'))
    enqueue_many(note, [("file", "a"), ("file", "b"), {"file": "file", "text": "c"}])
    assert placed(3) == [("default", 5), ("high", 5), ("high", 5)]


def test_the_members_of_a_group_go_by_their_own_routes(declare: Declare, placed: Callable[..., Any]) -> None:
    declare(Route("tests.tasks.note", queue="low"), Route("tests.tasks.add", queue="high", when="x > y"))
    enqueue(group(note.si("file", "text"), tasks.add.si(1, 2), tasks.add.si(2, 1)))
    assert placed(3) == [("default", 5), ("high", 5), ("low", 5)]


def test_what_the_caller_names_goes_first_and_the_route_gives_the_rest(
    declare: Declare, placed: Callable[..., Any]
) -> None:
    declare(Route("tests.*", queue="high", priority=8))
    using(queue="low").enqueue(note, "file", "text")
    note.apply_async(("file", "text"), priority=2)
    assert placed(2) == [("high", 2), ("low", 8)]


def test_no_route_is_the_default(declare: Declare, placed: Callable[..., Any]) -> None:
    declare(Route("tests.tasks.note", queue="high", when="text > 3"), Route("tests.other.*", queue="low"))
    enqueue(note, "file", 3)
    note.delay("file", 3)
    assert placed(2) == [("default", 5), ("default", 5)]


def test_beat_goes_by_routes(declare: Declare, transactional_db: None) -> None:
    declare(Route("tests.tasks.add", queue="low", priority=2, when="x == 1"))
    message = letter(saved("nightly", every(60), queue=None), None)
    assert (message.queue, message.priority) == ("low", 2)


def test_a_trigger_goes_by_routes_where_it_names_no_queue(
    declare: Declare, placed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triggers, "KNOWN_FOR", 0.0)
    triggers.rules.forget()
    declare(Route("tests.tasks.note", queue="high", when='text == "vip@example.com"'))
    arguments = json.dumps({"file": "=username", "text": "=email"})
    for name, queue in (("routed", ""), ("named", "low")):
        Trigger.objects.create(
            name=name, model="auth.user", task=note.name, on_create=True, arguments=arguments, queue=queue
        )
    User.objects.create(username="ana", email="vip@example.com")
    assert placed(2) == [("high", 5), ("low", 5)]


def test_djangos_tasks_go_by_routes_where_they_name_no_queue(
    declare: Declare, placed: Callable[..., Any]
) -> None:
    declare(Route("tests.django_style.*", queue="low", priority=1))
    django_style.add.enqueue(1, 2)
    django_style.note.enqueue("file", "text")
    django_style.add.using(queue_name="high", priority=20).enqueue(1, 2)
    assert placed(3) == [("high", 9), ("high", 6), ("low", 1)]


def test_a_person_who_runs_a_task_goes_by_routes(
    declare: Declare, placed: Callable[..., Any], ops: User
) -> None:
    declare(Route("tests.tasks.note", queue="low", priority=3, when='text == "late"'))
    assert perform(Actor(ops, "page"), Run(task=note.name, args=["file", "late"])).outcome
    assert list(Outgoing.objects.values_list("queue", "priority")) == [("low", 3)]


def test_a_retry_stays_where_it_was(
    installation: Installation, declare: Declare, placed: Callable[..., Any], tmp_path: Path
) -> None:
    declare(Route("tests.tasks.note_and_retry", queue="high", priority=7))
    enqueue(tasks.note_and_retry, str(tmp_path / "ran"), "again", 1)
    assert placed() == [("high", 7)]
    installation.worker("high")
    eventually(lambda: (tmp_path / "ran").exists() and len((tmp_path / "ran").read_text().splitlines()) == 2)
    assert (tmp_path / "ran").read_text().splitlines() == ["again 0 7", "again 1 7"]


def test_where_a_task_usually_goes_is_told_without_its_arguments(declare: Declare) -> None:
    declare(
        Route("tests.tasks.add", queue="high", when=lambda x, y: x > y),
        Route("tests.tasks.add", queue="high", when="x > y"),
        Route("tests.tasks.add", queue="low"),
    )
    assert (route_of("tests.tasks.add"), route_of("tests.tasks.add", [2, 1])) == ("low", "high")


def test_names_are_those_of_parameters_with_their_defaults_and_of_what_else_is_taken(
    declare: Declare,
) -> None:
    declare(
        Route("tests.tasks.fail_with", queue="high", when="customer == 3"),
        Route("tests.tasks.fail_with", queue="low", when='text == "x"'),
    )
    name = "tests.tasks.fail_with"
    assert route_of(name, ["y"], {"customer": 3}) == "high"
    assert route_of(name, ["x"], {"customer": 4}) == "low"
    assert route_of(name, [], {"text": "z"}) == "default"


def test_a_condition_that_can_not_be_judged_does_not_hold_and_is_told_once(
    declare: Declare, caplog: pytest.LogCaptureFixture
) -> None:
    declare(Route("tests.tasks.add", queue="high", when="x > 3"))
    for _ in range(3):
        assert route_of("tests.tasks.add", ["many", 1]) == "default"
    assert len([record for record in caplog.records if "can't be judged" in record.getMessage()]) == 1


def test_a_function_that_fails_tells_who_enqueues_and_nothing_is_kept(
    declare: Declare, transactional_db: None
) -> None:
    def faulty(file: str, text: str) -> bool:
        raise LookupError(text)

    declare(Route("tests.tasks.note", queue="high", when=faulty))
    with pytest.raises(LookupError), transaction.atomic():
        enqueue(note, "file", "text")
    assert not Outgoing.objects.exists()


@pytest.mark.parametrize(
    ("routes", "words"),
    [
        (
            [Route("a.b", queue="hihg")],
            "number 1 (a.b): there is no queue 'hihg'; there are default, high, low",
        ),
        ([Route("a.b", queue="low"), Route("c", priority=10)], "number 2 (c): priority 10 is not between"),
        ([Route("a.b")], "neither a queue nor a priority"),
        ([Route("", queue="low")], "it names no task"),
        ([Route("a.b", queue="low", when="pages >")], "not an expression"),
        ([Route("a.b", queue="low", when="len(pages) > 3")], "more than this language has"),
        ([Route("a.b", queue="low", when="old.pages == 3")], "no `old` values"),
        ([Route("a.b", queue="low", when=3)], "neither a text nor a function"),  # type: ignore[arg-type]
        ([Route("a.*", queue="low"), Route("a.b", queue="high")], "number 2 (a.b): number 1 (a.*) takes all"),
        ([Route("a.*", queue="low"), Route("a.*", queue="high")], "takes all of its jobs"),
    ],
)
def test_a_route_that_can_not_be_read_is_refused_with_the_reason(routes: list[Route], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        read_routes(routes, QUEUES)


def test_a_conditional_route_leaves_jobs_for_those_after_it() -> None:
    routes = [Route("a.*", queue="low", when="x"), Route("a.b", queue="high"), Route("a.*", queue="low")]
    assert [str(rule) for rule in read_routes(routes, QUEUES)] == [
        "ROUTES, number 1 (a.*)", "ROUTES, number 2 (a.b)", "ROUTES, number 3 (a.*)",
    ]  # fmt: skip


def test_the_checks_find_routes_that_no_job_would_come_to(declare: Declare) -> None:
    declare(
        Route("tests.tasks.nota", queue="low"),
        Route("tests.tasks.add", queue="low", when="z > 1"),
        Route("tests.tasks.*", queue="low", when="nowhere == 1 and x == 1"),
        Route("tests.tasks.note", queue="low"),
    )
    # fail_with gathers what it doesn't name, so the third one may be heard.
    unknown, unheard = [fault.msg for fault in check_routes()]
    assert unknown.startswith("ROUTES, number 1 (tests.tasks.nota): there is no task 'tests.tasks.nota'")
    assert "did you mean tests.tasks.note" in unknown
    assert unheard == "ROUTES, number 2 (tests.tasks.add): no task of these has an argument 'z'"


WRONG = {
    "there is no queue 'hihg'": 'Route("workers.tasks.*", queue="hihg")',
    "there is no task 'workers.tasks.send_emial'": 'Route("workers.tasks.send_emial", queue="low")',
    "not an expression": 'Route("workers.tasks.*", queue="low", when="subject ==")',
}


@pytest.mark.parametrize("words", WRONG)
@pytest.mark.parametrize("program", ["manage", "worker"])
def test_nothing_starts_with_a_wrong_route(
    installation: Installation, tmp_path: Path, words: str, program: str
) -> None:
    text = f"from dashboard.settings import *\nfrom jobs.routes import Route\nROUTES = [{WRONG[words]}]\n"
    (tmp_path / "wrong_routes.py").write_text(text)
    manage, celery = [str(ROOT / "manage.py"), "check"], ["-m", "celery", "-A", "workers", "worker"]
    settings = {"DJANGO_SETTINGS_MODULE": "wrong_routes", "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    process = installation.start(program, python(*(manage if program == "manage" else celery)), **settings)
    assert process.wait() != 0
    assert len([line for line in process.text().splitlines() if words in line]) == 1


@given(st.lists(st.sampled_from(["a.b", "a.*", "*", "c.?", "a.b.c"]), max_size=6), st.data())
def test_the_first_that_fits_decides(patterns: list[str], data: st.DataObject) -> None:
    routes = [Route(name, priority=n, when="x == 1") for n, name in enumerate(patterns)]
    name = data.draw(st.sampled_from(["a.b", "a.c", "c.d", "a.b.c", "e"]))
    x = data.draw(st.integers(0, 1))
    fits = {"a.b": {"a.b"}, "a.*": {"a.b", "a.c", "a.b.c"}, "*": {name}, "c.?": {"c.d"}, "a.b.c": {"a.b.c"}}
    expected = next((n for n, one in enumerate(patterns) if x == 1 and name in fits[one]), None)
    told = [
        rule.route.priority
        for rule in read_routes(routes, [])
        if rule.is_about(name) and rule.holds((), {}, lambda: {"x": x})
    ]
    assert next(iter(told), None) == expected
