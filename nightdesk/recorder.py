"""Hooks into Celery's own seams: publish signals, the event dispatcher, the worker's request.

Every hook is guarded at its outermost edge: an error here is counted, logged
once, and never reaches a task or a publisher.
"""

from __future__ import annotations

import atexit
import functools
import logging
import os
import time
from collections.abc import Callable
from typing import Any

from celery import Celery, signals
from celery.exceptions import SoftTimeLimitExceeded
from celery.utils.time import utcoffset

from nightdesk.capture import NOT_CAPTURED, captured_body
from nightdesk.dispatcher import recording_dispatcher
from nightdesk.options import Options
from nightdesk.redaction import Redactor
from nightdesk.writer import StreamWriter

STAMP = "nightdesk"
FAULT = "recorder-fault"
CELERY_EVENTS = frozenset({
    "task-received", "task-started", "task-succeeded", "task-failed",
    "task-retried", "task-revoked", "task-rejected", "task-cancelled",
    "worker-online", "worker-heartbeat", "worker-offline",
})  # fmt: skip
CELERY_REQUEST = "celery.worker.request:Request"
OFF_SWITCH = "NIGHTDESK_RECORDER"
TRACEBACK_LENGTH = 20_000
TEXT_LENGTH = 2_000
DRAIN_SECONDS, DRAIN_AGAIN = 3.0, 10.0

logger = logging.getLogger("nightdesk")
_installed: Recorder | None = None


def install(app: Celery, options: Options) -> None:
    """Record every job that `app` publishes or runs. Call it once, before the app is used."""
    global _installed
    if os.environ.get(OFF_SWITCH, "").lower() in ("off", "0", "false", "no"):
        return
    if _installed is not None:
        raise RuntimeError("the recorder is installed already; one process records one Celery app")
    _installed = Recorder(app, options)
    _installed.connect()


def uninstall() -> None:
    """Take the hooks out again, and send what is pending."""
    global _installed
    if _installed is not None:
        _installed.disconnect()
        _installed = None


def installed() -> Recorder | None:
    """The recorder of this process, if there is one."""
    return _installed


def emit(type: str, **fields: Any) -> None:
    """Record an event of one's own, such as `emit("job-progress", uuid=…, state=…, meta=…)`.

    Does nothing where no recorder is installed.
    """
    if _installed is not None:
        _installed.emit(type, fields)


def _guarded(hook: Callable[..., None]) -> Callable[..., None]:
    """The outermost edge: nothing that goes wrong in here may reach a job."""

    @functools.wraps(hook)
    def guarded(recorder: Recorder, *args: Any, **kwargs: Any) -> None:
        try:
            hook(recorder, *args, **kwargs)
        except SoftTimeLimitExceeded:  # the task's own, which happened to arrive in here
            raise
        except Exception as fault:  # noqa: BLE001 watching never hurts a job
            recorder.count_fault(hook.__name__, fault)

    return guarded


class Recorder:
    """What is hooked into one Celery app."""

    def __init__(self, app: Celery, options: Options) -> None:
        self.app = app
        self.options = options
        self.faults = 0
        self.redactor = Redactor(options.sensitive_keys)
        self.writer = StreamWriter(options)
        self.worker: Any = None
        self._receiving: Any = None
        self._gave_up_at = -DRAIN_AGAIN

    def connect(self) -> None:
        # Celery reads a class as well as the name of one.
        self.app.events.dispatcher_cls = recording_dispatcher(self.record)  # type: ignore[assignment]
        if (
            self.app.Task.Request == CELERY_REQUEST
        ):  # else it is a subclass of RecordedRequest, or goes without
            self.app.Task.Request = "nightdesk.request:RecordedRequest"
        for signal, hook in self._hooks():
            signal.connect(hook, weak=False, dispatch_uid=f"nightdesk.{hook.__name__}")
        atexit.register(self.drain)

    def disconnect(self) -> None:
        for signal, hook in self._hooks():
            signal.disconnect(hook, dispatch_uid=f"nightdesk.{hook.__name__}")
        atexit.unregister(self.drain)
        self.drain()

    def _hooks(self) -> list[tuple[Any, Callable[..., None]]]:
        return [
            (signals.before_task_publish, self.stamp),
            (signals.after_task_publish, self.record_sent),
            (signals.celeryd_after_setup, self.remember_worker),
            (signals.task_received, self.note_receipt),
            (signals.worker_shutdown, self.drain),
            (signals.worker_process_shutdown, self.drain),
        ]

    def count_fault(self, hook: str, fault: Exception) -> None:
        """Count an error of the recorder's own, here and in the record; the first one is logged."""
        self.faults += 1
        told = {"type": FAULT, "timestamp": time.time(), "hook": hook, "fault": type(fault).__name__}
        self.writer.put(told)
        if self.faults == 1:
            logger.warning("the recorder failed once and goes on; further faults are counted", exc_info=True)

    def drain(self, **_: Any) -> None:
        """Send what is pending; a stop, which asks more than once, waits for an absent Redis once."""
        if time.monotonic() - self._gave_up_at > DRAIN_AGAIN and not self.writer.drain(DRAIN_SECONDS):
            self._gave_up_at = time.monotonic()

    @_guarded
    def stamp(
        self, headers: dict[str, Any], properties: dict[str, Any], routing_key: str, **more: Any
    ) -> None:
        """Write into the message when it was published, where to, and by which release."""
        now = self.writer.now()
        before = headers.get(STAMP)
        again = isinstance(before, dict) and before.get("id") == headers.get("id")
        headers[STAMP] = {
            "id": headers.get("id"),
            "at": now,
            "first": before["first"] if again and before else now,
            "queue": _queue_name(more.get("declare"), routing_key),
            "priority": properties.get("priority"),
            "release": self.options.release,
        }

    @_guarded
    def record_sent(self, headers: dict[str, Any], body: Any, routing_key: str, **_: Any) -> None:
        """Record a publish that has happened, with what the message carries."""
        stamp = headers[STAMP]
        args, kwargs, embed = body
        carried = captured_body(self.redactor, args, kwargs, embed or {}, self.options.body_bytes)
        self.put(
            "task-sent",
            timestamp=stamp["at"] - (self.writer.offset or 0.0),
            uuid=headers["id"],
            name=headers["task"],
            retries=headers.get("retries") or 0,
            eta=headers.get("eta"),
            expires=headers.get("expires"),
            origin=headers.get("origin"),
            **_lineage(headers),
            **_stamped(stamp),
            **carried,
        )

    @_guarded
    def remember_worker(self, instance: Any, **_: Any) -> None:
        """Keep the worker, to say with its heartbeats how many slots it has and what it reads."""
        self.worker = instance

    @_guarded
    def note_receipt(self, request: Any, **_: Any) -> None:
        """Celery sends `task-received` right after this signal: keep what it leaves out."""
        self._receiving = request

    @_guarded
    def emit(self, type: str, fields: dict[str, Any]) -> None:
        """Record an event that Celery doesn't send."""
        cleaned = self.redactor.clean(fields, TEXT_LENGTH * 4).value
        self.put(type, **cleaned)

    @_guarded
    def record(self, event: dict[str, Any]) -> None:
        """Record an event that Celery sends, completed and cleaned."""
        extra = self._what_celery_leaves_out(event)
        self.writer.put({**self._cleaned(event), **extra})

    def put(self, type: str, timestamp: float | None = None, **fields: Any) -> None:
        """Write an event of this process, in Celery's form."""
        self.writer.put(
            {
                "type": type,
                "timestamp": time.time() if timestamp is None else timestamp,
                "hostname": self._host(),
                "pid": os.getpid(),
                "utcoffset": utcoffset(),
                **fields,
            }
        )

    def _host(self) -> str:
        return self.worker.hostname if self.worker is not None else f"gen{os.getpid()}@{os.uname().nodename}"

    def _what_celery_leaves_out(self, event: dict[str, Any]) -> dict[str, Any]:
        if event["type"] == "task-received":
            return self._of_the_receipt(event)
        if event["type"] in ("worker-online", "worker-heartbeat"):
            return self._of_the_worker()
        return {}

    def _of_the_receipt(self, event: dict[str, Any]) -> dict[str, Any]:
        request, self._receiving = self._receiving, None
        if request is None or request.id != event["uuid"]:
            return {}
        headers = request.request_dict
        stamp = headers.get(STAMP)
        known = _stamped(stamp) if isinstance(stamp, dict) else self._of_an_unstamped_message(request)
        return {
            **known,
            **_lineage(headers),
            "delivery": getattr(request, "delivery", 0),
            "origin": headers.get("origin"),
        }

    def _of_an_unstamped_message(self, request: Any) -> dict[str, Any]:
        """The producer has no recorder: what the message itself tells."""
        delivery = request.delivery_info or {}
        known = {"queue": delivery.get("routing_key"), "priority": delivery.get("priority")}
        if request.content_type != "application/json":
            return {**known, "withheld": NOT_CAPTURED}
        args, kwargs, embed = request._payload
        return {**known, **captured_body(self.redactor, args, kwargs, embed or {}, self.options.body_bytes)}

    def _of_the_worker(self) -> dict[str, Any]:
        worker = self.worker
        if worker is None:
            return {}
        return {
            "slots": worker.pool.num_processes if worker.pool else worker.concurrency,
            "queues": sorted(self.app.amqp.queues.consume_from),
            "release": self.options.release,
        }

    def _cleaned(self, event: dict[str, Any]) -> dict[str, Any]:
        """The event with its texts redacted and capped; its own copy."""
        if event["type"] not in CELERY_EVENTS:  # a program's own, with anything in it
            return dict(self.redactor.clean(event, TEXT_LENGTH * 4).value)
        cleaned = dict(event)
        if event["type"] == "task-received" and isinstance(cleaned.get("args"), str):
            # repr() of the arguments, cut anywhere: what the publisher captured is better
            del cleaned["args"], cleaned["kwargs"]
        for field in ("result", "exception", "traceback"):
            text = cleaned.get(field)
            if isinstance(text, str):
                longest = TRACEBACK_LENGTH if field == "traceback" else TEXT_LENGTH
                cleaned[field] = self.redactor.excerpt(text, longest)
        return cleaned


def _stamped(stamp: dict[str, Any]) -> dict[str, Any]:
    return {
        "published": stamp.get("at"),
        "first_published": stamp.get("first"),
        "queue": stamp.get("queue"),
        "priority": stamp.get("priority"),
        "release": stamp.get("release"),
    }


def _lineage(headers: dict[str, Any]) -> dict[str, Any]:
    return {
        "root_id": headers.get("root_id"),
        "parent_id": headers.get("parent_id"),
        "group": headers.get("group"),
        "schedule": headers.get("periodic_task_name"),
        "retry_of": headers.get("nightdesk_retry_of"),
    }


def _queue_name(declare: Any, routing_key: str) -> str:
    """The queue that Celery resolved, where it tells; else the routing key."""
    return declare[0].name if declare else routing_key


def delivery_number() -> int:
    """Microseconds of the stream's clock: tells deliveries of one message apart, and orders them."""
    return int((_installed.writer.now() if _installed else time.time()) * 1_000_000)
