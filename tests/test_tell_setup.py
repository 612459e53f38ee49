"""A worker tells how it is set up, with its signs of life; whatever it tells is read with care."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from celery import Celery
from kombu import Exchange, Queue

from jobs.events import WorkerEvent, parse
from jobs.models import Heartbeat, Worker
from jobs.worker_facts import MOVING, RabbitFacts, Setup, TaskCounts, setup_of, worker_facts
from nightdesk.worker_facts import BEATS_BETWEEN_SETUPS, Counts, moving_facts, pool_name, setup
from tests import tasks
from tests.harness import Installation, eventually
from tests.stream import START


def program(**settings: Any) -> Celery:
    app = Celery("program", broker="redis://localhost:6390/0", set_as_current=False)
    app.conf.update(settings)
    app.finalized = True  # type: ignore[attr-defined]  # without the tasks that this suite shares with every app
    return app


def nothing() -> None:
    pass


def worker_of(**facts: Any) -> Any:
    whole = {"pool_cls": "celery.concurrency.prefork:TaskPool", "prefetch_multiplier": 1}
    return SimpleNamespace(**{**whole, "time_limit": None, "soft_time_limit": None, **facts})


def test_tasks_are_counted_by_what_they_do_and_not_celerys_own() -> None:
    app = program()
    app.task(name="a", acks_late=True, time_limit=60)(nothing)
    app.task(name="b", acks_late=True)(nothing)
    app.task(name="c", send_events=False, ignore_result=True, soft_time_limit=5)(nothing)
    assert setup(app, worker_of())["tasks"] == {
        "total": 3, "late": 2, "late_unlimited": 1, "late_longest": 60.0, "ignored": 1, "silent": 1,
        "limited": 1, "soft_limited": 1,
    }  # fmt: skip


def test_a_limit_of_the_worker_is_that_of_tasks_without_one() -> None:
    app = program(task_acks_late=True)
    app.task(name="a")(nothing)
    counted = setup(app, worker_of(time_limit=1800.0, soft_time_limit=1740.0))["tasks"]
    assert (counted["late_unlimited"], counted["late_longest"], counted["soft_limited"]) == (0, 1800.0, 1)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, 3600.0), ({"broker_transport_options": {"visibility_timeout": 10}}, 10.0)],
)
def test_the_visibility_timeout_is_that_of_the_transport_unless_set(
    settings: dict[str, Any], expected: float
) -> None:
    told = setup(program(**settings), worker_of())
    assert (told["transport"], told["visibility_timeout"]) == ("redis", expected)


def test_a_broker_that_knows_when_a_worker_is_gone_has_no_visibility_timeout() -> None:
    app = Celery("program", broker="memory://", set_as_current=False)
    told = setup(app, worker_of())
    assert (told["transport"], told["visibility_timeout"]) == ("memory", None)


def test_of_rabbitmq_a_worker_tells_what_it_declares_and_nothing_that_it_cannot_know() -> None:
    kept: dict[str, Any] = {"exchange": Exchange("kept", delivery_mode="persistent")}
    queues = [
        Queue("quorum", queue_arguments={"x-queue-type": "quorum", "x-consumer-timeout": 90_000}, **kept),
        Queue("classic", queue_arguments={"x-queue-type": "classic"}, max_length=10, max_priority=9, **kept),
        Queue("bounded", max_length_bytes=10, queue_arguments={"x-overflow": "reject-publish"}, **kept),
        Queue("brief", durable=False, exchange=Exchange("brief")),
        Queue("unsaved", exchange=Exchange("unsaved", delivery_mode="transient")),
    ]
    app = Celery("program", broker="amqp://", set_as_current=False)
    app.conf.update(task_queues=queues, broker_transport_options={"confirm_publish": True})
    told = setup(app, worker_of())
    assert (told["transport"], told["visibility_timeout"]) == ("amqp", None)
    assert told["rabbitmq"] == {
        "version": None, "queues": 5, "quorum": 1, "classic": 1, "prioritised": 1, "transient": 2,
        "overflowing": 1, "consumer_timeout": 90.0, "confirms": True, "heartbeat": 120.0,
    }  # fmt: skip
    assert setup_of(event_with(setup=told)["setup"]) == setup_read(told)


def test_the_version_of_rabbitmq_is_told_once_a_worker_is_connected() -> None:
    app = Celery("program", broker="amqp://", set_as_current=False)
    known = SimpleNamespace(server_properties={"product": "RabbitMQ", "version": "3.13.7"})
    for connected, expected in ((True, "3.13.7"), (False, None)):
        connection = SimpleNamespace(connected=connected, connection=known)
        worker = worker_of(consumer=SimpleNamespace(connection=connection))
        assert setup(app, worker)["rabbitmq"]["version"] == expected


def setup_read(told: dict[str, Any]) -> Setup:
    """As the record has it."""
    rabbit = told["rabbitmq"] and RabbitFacts(**told["rabbitmq"])
    return Setup(**{**told, "rabbitmq": rabbit, "tasks": TaskCounts(**told["tasks"])})


@pytest.mark.parametrize(
    ("reject", "retry", "endless"), [(False, False, False), (True, False, True), (True, True, False)]
)
def test_requeueing_lost_jobs_is_endless_unless_they_are_retried(
    reject: bool, retry: bool, endless: bool
) -> None:
    app = program(task_reject_on_worker_lost=reject, task_retry_on_worker_lost=retry)
    assert setup(app, worker_of())["requeues_lost"] is endless


@pytest.mark.parametrize("name", ["prefork", "threads", "solo", "gevent", "eventlet"])
def test_a_pool_has_the_name_that_the_command_line_gives_it(name: str) -> None:
    module = {"threads": "thread"}.get(name, name)
    assert pool_name(f"celery.concurrency.{module}:TaskPool") == name


def test_a_pool_of_somebody_elses_has_the_name_of_its_module() -> None:
    assert pool_name("their.pools:Fast") == "their.pools"


@pytest.mark.parametrize(
    ("enabled", "groups", "sends"),
    [(True, set(), True), (True, {"worker"}, False), (True, {"task"}, True), (False, set(), False)],
)
def test_whether_events_are_on_is_told_as_it_is_now(enabled: bool, groups: set[str], sends: bool) -> None:
    dispatcher = SimpleNamespace(enabled=enabled, groups=groups)
    worker = worker_of(consumer=SimpleNamespace(event_dispatcher=dispatcher))
    assert moving_facts(worker, Counts(), 0, 0)["events"] is sends


def test_the_setup_rides_on_the_first_sign_of_life_and_now_and_then() -> None:
    counts = Counts()
    due = [counts.setup_is_due(kind) for kind in ["worker-online"] + ["worker-heartbeat"] * 59]
    assert due.count(True) == 1 + 60 // BEATS_BETWEEN_SETUPS
    assert due[0]


def test_the_recorder_tells_the_version_of_its_wheel() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert setup(program(), worker_of())["recorder"] == project["version"]


# Read from the stream


def event_with(**fields: Any) -> dict[str, Any]:
    told = {"type": "worker-heartbeat", "timestamp": START, "hostname": "w@h", **fields}
    event = parse(json.loads(json.dumps(told)), 0.0)
    assert isinstance(event, WorkerEvent)
    return event.facts


def test_a_setup_comes_back_as_it_was_told() -> None:
    app = program()
    app.task(name="a", acks_late=True, time_limit=60)(nothing)
    told = setup(app, worker_of())
    facts = event_with(setup=told, events=True, received=7, unstamped=2, faults=0, dropped=1)
    assert setup_of(facts["setup"]) == setup_read(told)
    assert [facts[name] for name in MOVING] == [True, 7, 2, 0, 1]


def test_a_heartbeat_without_a_setup_says_nothing_of_it() -> None:
    facts = event_with(active=1)
    assert not {"setup", *MOVING} & facts.keys()


@pytest.mark.parametrize(
    "odd",
    [
        7,
        "x",
        [1],
        None,
        {"tasks": 7},
        {"pool": ["a"], "prefetch": -1, "tasks": {"late": "4"}},
        {"rabbitmq": "3.13"},
    ],
)
def test_a_setup_may_hold_anything(odd: Any) -> None:
    facts = worker_facts({"setup": odd, "events": "yes", "received": -1, "faults": 1e9, "dropped": True})
    assert [facts[name] for name in MOVING] == [None] * 5
    assert setup_of(facts["setup"]) in (None, Setup())


def test_what_a_setup_holds_is_bounded_and_storable() -> None:
    facts = worker_facts({"setup": {"pool": "\x00" + "a" * 10_000, "prefetch": 2**80, "more": "b" * 10**6}})
    read = setup_of(facts["setup"])
    assert read is not None
    assert len(facts["setup"]) < 1_000
    assert "\x00" not in facts["setup"]
    assert (len(read.pool or ""), read.prefetch) == (64, None)


def test_a_setup_of_a_later_release_is_read_as_far_as_it_is_known() -> None:
    stored = worker_facts({"setup": {"pool": "prefork", "tasks": {"total": 3, "colour": "red"}}})["setup"]
    assert setup_of(stored) == Setup(pool="prefork", tasks=TaskCounts(total=3))
    assert orjson.loads(stored)["celery"] is None


# A real worker, a real monitor


def the_worker() -> Worker:
    found = eventually(lambda: Worker.objects.filter(setup__isnull=False, received__gte=1).first(), 30)
    assert isinstance(found, Worker)
    return found


@pytest.mark.slow
def test_a_worker_that_starts_is_known_with_its_setup(installation: Installation) -> None:
    installation.monitor()
    installation.worker(slots=2, VISIBILITY_TIMEOUT="7200")
    tasks.add.apply_async((1, 2), queue="default")
    worker = the_worker()
    told = setup_of(worker.setup)
    assert told is not None
    assert (told.pool, told.prefetch, told.transport) == ("prefork", 1, "redis")
    assert (told.visibility_timeout, told.tasks.late_longest) == (7200.0, 1800.0)
    assert told.tasks.total == told.tasks.late
    assert (worker.events, worker.unstamped, worker.faults, worker.dropped) == (True, 0, 0, 0)


@pytest.mark.slow
def test_a_monitor_tells_how_broker_and_stream_are(installation: Installation) -> None:
    installation.monitor()
    installation.worker()
    tasks.add.apply_async((1, 2), queue="default")
    the_worker()

    def told(name: str) -> Any:
        heartbeat = Heartbeat.objects.filter(name=name).first()
        return orjson.loads(heartbeat.detail) if heartbeat else {}

    facts: Any = eventually(lambda: (told("broker").get("server") or {}).get("facts"), 30)
    assert (facts["append_only"], facts["append_sync"], facts["eviction"]) == (True, "always", "noeviction")
    monitor: Any = eventually(lambda: told("monitor") if told("monitor").get("pace") else None, 30)
    assert monitor["stream"]["cap"] == 500_000
    assert monitor["stream"]["length"] >= 0
    assert monitor["behind_since"] is None
