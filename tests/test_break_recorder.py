"""The recorder under attack: no task, no publisher and no fork ever notices."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded

from nightdesk import Options
from nightdesk.dispatcher import recording_dispatcher
from nightdesk.recorder import Recorder
from tests.harness import RedisServer

HEADERS = {"id": "a", "task": "t", "nightdesk": {"id": "a", "at": 1.0, "first": 1.0}}


class Talkative:
    """An argument whose text takes long, or costs a query."""

    def __str__(self) -> str:
        raise SystemExit("nobody should ask")

    __repr__ = __str__


@pytest.fixture
def frozen_redis() -> Iterator[RedisServer]:
    """A Redis that accepts connections and never answers."""
    server = RedisServer(Path(tempfile.mkdtemp(prefix="nd-f-")))
    server.start()
    pid = int(server.client().info()["process_id"])
    os.kill(pid, signal.SIGSTOP)
    yield server
    os.kill(pid, signal.SIGCONT)
    server.stop()


@pytest.fixture
def recorder() -> Recorder:
    """A recorder whose Redis is away, so that events stay where a test can read them."""
    return Recorder(Celery("shop", set_as_current=False), Options(url="redis://127.0.0.1:1/0"))


def pending(recorder: Recorder) -> list[dict[str, Any]]:
    return [json.loads(text) for text in recorder.writer._pending]


def sent(recorder: Recorder, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """The event of a publish with these arguments."""
    recorder.record_sent(headers=HEADERS, body=(args, kwargs, {}), routing_key="q")
    return pending(recorder)[-1]


@pytest.mark.parametrize(
    "argument",
    [object(), {1, 2}, Talkative(), 10**5000, range(10**9), iter([1])],
    ids=["object", "set", "talkative", "huge", "range", "iterator"],
)
def test_what_json_cannot_carry_is_recorded_without_a_body(recorder: Recorder, argument: object) -> None:
    event = sent(recorder, argument)
    assert event["type"] == "task-sent"
    assert event["withheld"] in ("not captured", "too large")
    assert recorder.faults == 0


def test_the_text_of_a_programs_own_object_is_never_asked_for(recorder: Recorder) -> None:
    event = sent(recorder, Talkative(), key={Talkative(): 1})
    assert "Talkative" in event["args"]
    assert "Talkative" in event["kwargs"]


@pytest.mark.parametrize(
    "argument",
    ["x" * 20_000_000, b"\xff" * 20_000_000, "token" * 4_000_000, list(range(3_000_000))],
    ids=["text", "bytes", "keys", "list"],
)
def test_twenty_megabytes_hold_nobody_up(recorder: Recorder, argument: object) -> None:
    began = time.perf_counter()
    assert len(json.dumps(sent(recorder, argument))) < 400_000
    assert time.perf_counter() - began < 1


def test_numbers_that_json_does_not_know_are_told_as_text(recorder: Recorder) -> None:
    recorder.emit("job-progress", {"uuid": "a", "state": "S", "meta": {"loss": float("nan")}})
    assert pending(recorder)[-1]["meta"] == {"loss": "nan"}


def test_a_fault_of_its_own_is_an_event_so_that_the_record_can_count_it(recorder: Recorder) -> None:
    recorder.record_sent(headers={}, body=None, routing_key="q")
    assert recorder.faults == 1
    event = pending(recorder)[0]
    assert (event["type"], event["hook"], event["fault"]) == ("recorder-fault", "record_sent", "KeyError")


def test_a_time_limit_that_strikes_inside_a_hook_still_reaches_the_task(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(*_: Any) -> None:
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(recorder.redactor, "clean", too_late)
    with pytest.raises(SoftTimeLimitExceeded):
        recorder.emit("job-progress", {"uuid": "a"})


def test_without_a_thread_to_be_had_nothing_is_raised_and_the_next_event_tries_again(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        recorder.emit("job-progress", {"uuid": "a"})
        recorder.count_fault("emit", ValueError())
    recorder.emit("job-progress", {"uuid": "b"})
    assert len(pending(recorder)) == 3
    assert recorder.writer._thread is not None


def test_an_event_of_the_programs_own_is_cleaned_and_bounded(recorder: Recorder) -> None:
    recorder.record({"type": "shop-paid", "password": "hunter2", "blob": "x" * 20_000_000})
    text = json.dumps(pending(recorder))
    assert "hunter2" not in text
    assert len(text) < 10_000


def test_a_stop_waits_for_an_absent_redis_once(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightdesk.recorder.DRAIN_SECONDS", 0.5)
    recorder.emit("job-progress", {"uuid": "a"})
    began = time.monotonic()
    for _ in range(3):
        recorder.drain()
    assert 0.5 <= time.monotonic() - began < 1


@pytest.mark.parametrize(
    ("keep", "sent"), [(False, ["worker.heartbeat"]), (True, ["task.started", "worker.heartbeat"])]
)
def test_celerys_own_events_about_jobs_are_sent_only_where_somebody_wants_them(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, keep: bool, sent: list[str]
) -> None:
    dispatcher_class: Any = recording_dispatcher(recorder.record, celery_events=keep)
    published: list[str] = []
    monkeypatch.setattr(
        dispatcher_class, "_publish", lambda *_, routing_key, **__: published.append(routing_key)
    )
    app = Celery("shop", broker="memory://", set_as_current=False)
    with app.connection_for_write() as connection:
        dispatcher = dispatcher_class(connection, app=app, hostname="w", enabled=True)
        dispatcher.send("task-started", uuid="a")
        dispatcher.send("worker-heartbeat")
    assert published == sent
    assert [event["type"] for event in pending(recorder)] == ["task-started", "worker-heartbeat"]


def test_a_wrong_address_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="scheme"):
        Recorder(Celery("shop", set_as_current=False), Options(url="localhost:6379"))


@pytest.mark.parametrize(
    ("header", "first"),
    [
        ({"nightdesk": {"id": "a", "at": 5.0, "first": 1.0}, "retries": 1}, 1.0),
        ({"nightdesk": {"id": "a", "at": 5.0, "first": None}, "retries": 1}, None),
        ({"nightdesk": {"id": "its parent", "at": 5.0, "first": 1.0}}, 9.0),
        ({"nightdesk": "odd"}, 9.0),
        ({"retries": 0}, 9.0),
        ({"retries": 1}, None),
    ],
)
def test_a_retry_is_never_taken_for_the_first_publish(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, header: dict[str, Any], first: float | None
) -> None:
    monkeypatch.setattr(recorder.writer, "asked_now", lambda: 9.0)
    headers = {"id": "a", "task": "t", **header}
    recorder.stamp(headers=headers, properties={}, routing_key="q")
    assert (headers["nightdesk"]["at"], headers["nightdesk"]["first"]) == (9.0, first)


def test_a_fault_at_a_stop_is_counted_and_not_raised(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: float) -> bool:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(recorder.writer, "drain", fails)
    recorder.drain()
    assert recorder.faults == 1


def test_a_fork_keeps_what_is_known_of_the_clock(recorder: Recorder) -> None:
    recorder.writer._learn_offset(3600.0)
    recorder.writer.restart()
    assert recorder.writer.now() - time.time() > 3000


def test_a_frozen_redis_holds_no_publisher_up(frozen_redis: RedisServer) -> None:
    recorder = Recorder(Celery("shop", set_as_current=False), Options(url=frozen_redis.url))
    longest = 0.0
    for _ in range(300):
        began = time.perf_counter()
        sent_headers = {**HEADERS}
        recorder.stamp(headers=sent_headers, properties={}, routing_key="q")
        recorder.record_sent(headers=sent_headers, body=(["x"], {}, {}), routing_key="q")
        longest = max(longest, time.perf_counter() - began)
        time.sleep(0.01)
    assert longest < 0.5
    assert recorder.faults == 0
