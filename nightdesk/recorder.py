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

from nightdesk import dropped, paused, pool_process
from nightdesk.capture import NOT_CAPTURED, captured_body
from nightdesk.dispatcher import JOB_EVENTS, recording_dispatcher
from nightdesk.messages import (
    DELIVERY,
    STAMP,
    carried_by,
    first_published,
    header_of,
    lineage,
    queue_name,
    stamp_of,
    stamped,
)
from nightdesk.options import Options
from nightdesk.redaction import Redactor
from nightdesk.worker_facts import Counts, moving_facts, setup
from nightdesk.writer import StreamWriter

FAULT = "recorder-fault"
WORKER_EVENTS = frozenset({"worker-online", "worker-heartbeat", "worker-offline"})
CELERY_REQUEST = "celery.worker.request:Request"
# By name: what it imports is for workers alone.
READ_REVOKED = "nightdesk.revoked:ReadRevoked"
TELL_UNDECODABLE = "nightdesk.undecodable:TellUndecodable"
OFF_SWITCH = "NIGHTDESK_RECORDER"
TRACEBACK_LENGTH = 20_000
TEXT_LENGTH = 2_000
TEXTS = (("result", TEXT_LENGTH), ("exception", TEXT_LENGTH), ("traceback", TRACEBACK_LENGTH))
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
        self._worker_pid = 0
        self.counts = Counts()
        self._receiving: Any = None
        self._gave_up_at = -DRAIN_AGAIN
        self._standing_still = paused.step_of(lambda: paused.read_paused(options.url), self.count_fault)

    def connect(self) -> None:
        # Celery reads a class as well as the name of one.
        self.app.events.dispatcher_cls = recording_dispatcher(self.record, self.options.celery_events)  # type: ignore[assignment]
        if (
            self.app.Task.Request == CELERY_REQUEST
        ):  # else it is a subclass of RecordedRequest, or goes without
            self.app.Task.Request = "nightdesk.request:RecordedRequest"
        self.app.steps["consumer"].update((READ_REVOKED, TELL_UNDECODABLE))
        self.app.steps["consumer"].add(self._standing_still)
        for signal, hook in self._hooks():
            signal.connect(hook, weak=False, dispatch_uid=f"nightdesk.{hook.__name__}")
        atexit.register(self.drain)

    def disconnect(self) -> None:
        self.app.steps["consumer"].difference_update((READ_REVOKED, TELL_UNDECODABLE))
        self.app.steps["consumer"].discard(self._standing_still)
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
            (signals.task_unknown, self.tell_unknown),
            (signals.task_rejected, self.tell_dropped),
            (signals.worker_process_init, self.tell_ends_from_here),
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

    @_guarded
    def drain(self, **_: Any) -> None:
        """Send what is pending; a stop, which asks more than once, waits for an absent Redis once."""
        if time.monotonic() - self._gave_up_at > DRAIN_AGAIN and not self.writer.drain(DRAIN_SECONDS):
            self._gave_up_at = time.monotonic()

    @_guarded
    def stamp(
        self,
        headers: dict[str, Any],
        properties: dict[str, Any],
        routing_key: str,
        body: Any = None,
        **more: Any,
    ) -> None:
        """Write into the message when it was published, where to, and by which release."""
        now = self.writer.asked_now()
        header = header_of(headers, body)
        headers.pop(DELIVERY, None)  # of the attempt that publishes the next one
        headers[STAMP] = {
            "id": header.get("id"),
            "at": now,
            "first": first_published(headers.get(STAMP), header, now),
            "queue": queue_name(more.get("declare"), routing_key),
            "priority": properties.get("priority"),
            "release": self.options.release,
        }

    @_guarded
    def record_sent(self, headers: dict[str, Any], body: Any, routing_key: str, **_: Any) -> None:
        """Record a publish that has happened, with what the message carries."""
        stamp, header = headers[STAMP], header_of(headers, body)
        at = stamp["at"]
        self.put(
            "task-sent",
            timestamp=None if at is None else at - (self.writer.offset or 0.0),
            uuid=header["id"],
            name=header["task"],
            retries=header.get("retries") or 0,
            eta=header.get("eta"),
            expires=header.get("expires"),
            **lineage(header),
            **stamped(stamp),
            **captured_body(self.redactor, *carried_by(body), self.options.body_bytes),
        )

    @_guarded
    def remember_worker(self, instance: Any, **_: Any) -> None:
        """Keep the worker, to say with its heartbeats how many slots it has and what it reads."""
        self.worker = instance
        self._worker_pid = os.getpid()

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
    def tell_unknown(self, message: Any, name: str, id: str, **_: Any) -> None:
        """Celery has failed a job of a task that it doesn't know: say what the message held."""
        told = dropped.unknown_task(message, name, self.redactor, self.options.body_bytes)
        self.put(dropped.UNKNOWN, uuid=id, **told)

    @_guarded
    def tell_dropped(self, message: Any, exc: Exception | None = None, **_: Any) -> None:
        """Celery has dropped a message that it can't read; if that was a job, it will never run."""
        told = dropped.unreadable(message, exc, self.redactor, self.options.body_bytes)
        self.put(dropped.DROPPED, **told)
        if told["uuid"]:
            self.put("task-rejected", uuid=told["uuid"], retries=message.headers.get("retries") or 0)

    @_guarded
    def tell_no_envelope(self, raw: bytes, queue: str) -> None:
        """Something was taken from a queue that is no message at all."""
        self.put(dropped.DROPPED, **dropped.no_envelope(raw, queue, self.redactor))

    @_guarded
    def record(self, event: dict[str, Any]) -> None:
        """Record an event that Celery sends, completed and cleaned. `event` is changed."""
        kind = event["type"]
        if kind == "task-received":
            self._complete_receipt(event)
        elif kind in WORKER_EVENTS:
            event.update(self._of_the_worker(kind))
        elif kind in JOB_EVENTS:
            self._clean_texts(event)
        else:  # a program's own, with anything in it
            event = self.redactor.clean(event, TEXT_LENGTH * 4).value
        self.writer.put(event)

    @_guarded
    def tell_ends_from_here(self, **_: Any) -> None:
        """This is a process of the pool: it tells how its jobs end, too, unless it is the main process."""
        if self.worker is None or not self.worker.task_events or os.getpid() == self._worker_pid:
            return
        signals.task_success.connect(self.tell_success, weak=False)
        signals.task_failure.connect(self.tell_failure, weak=False)
        signals.task_retry.connect(self.tell_retry, weak=False)

    @_guarded
    def tell_success(self, sender: Any, result: Any, runtime: float | None = None, **_: Any) -> None:
        if attempt := pool_process.told_by_pool(sender):
            self._tell("task-succeeded", attempt, pool_process.success(sender, result, runtime))

    @_guarded
    def tell_failure(self, sender: Any, exception: Exception, einfo: Any, **_: Any) -> None:
        if attempt := pool_process.told_by_pool(sender):
            self._tell("task-failed", attempt, pool_process.failure(exception, einfo.traceback))

    @_guarded
    def tell_retry(self, sender: Any, reason: Any, einfo: Any, **_: Any) -> None:
        if attempt := pool_process.told_by_pool(sender):
            self._tell("task-retried", attempt, pool_process.failure(reason.exc, einfo.traceback))

    def _tell(self, kind: str, attempt: dict[str, Any], end: dict[str, Any]) -> None:
        event = {"type": kind, "timestamp": time.time(), **attempt, **end}
        self._clean_texts(event)
        self.writer.put(event)

    def put(self, type: str, timestamp: float | None = None, **fields: Any) -> None:
        """Write an event of this process, in Celery's form; a field that is None is left out."""
        event = {
            "type": type,
            "timestamp": time.time() if timestamp is None else timestamp,
            "hostname": self._host(),
            "pid": os.getpid(),
        }
        event.update((name, value) for name, value in fields.items() if value is not None)
        self.writer.put(event)

    def _host(self) -> str:
        return self.worker.hostname if self.worker is not None else f"gen{os.getpid()}@{os.uname().nodename}"

    def _complete_receipt(self, event: dict[str, Any]) -> None:
        """Add what Celery leaves out; `args` and `kwargs` are cut anywhere: the publisher's are better."""
        event.pop("args", None)
        event.pop("kwargs", None)
        request, self._receiving = self._receiving, None
        if request is None or request.id != event["uuid"]:
            return
        header = request.request_dict
        stamp = stamp_of(header)
        self.counts.receipt(stamped=stamp is not None)
        known = stamped(stamp) if stamp else self._of_an_unstamped_message(request)
        told = {**known, **lineage(header), "delivery": header.get(DELIVERY)}
        event.update((name, value) for name, value in told.items() if value is not None)

    def _of_an_unstamped_message(self, request: Any) -> dict[str, Any]:
        """The producer has no recorder: what the message itself tells."""
        delivery = request.delivery_info or {}
        known = {"queue": delivery.get("routing_key"), "priority": delivery.get("priority")}
        if request.content_type != "application/json":
            return {**known, "withheld": NOT_CAPTURED}
        args, kwargs, embed = request._payload
        return {**known, **captured_body(self.redactor, args, kwargs, embed or {}, self.options.body_bytes)}

    def _of_the_worker(self, event_type: str) -> dict[str, Any]:
        worker = self.worker
        if worker is None:
            return {}
        told = moving_facts(worker, self.counts, self.faults, self.writer.dropped)
        if self.counts.setup_is_due(event_type):
            told["setup"] = setup(self.app, worker)
        return {
            **told,
            "slots": worker.pool.num_processes if worker.pool else worker.concurrency,
            "queues": sorted(self.app.amqp.queues.consume_from),
            "release": self.options.release,
        }

    def _clean_texts(self, event: dict[str, Any]) -> None:
        """Redact and cap what a job has said."""
        for field, longest in TEXTS:
            text = event.get(field)
            if isinstance(text, str):
                event[field] = self.redactor.excerpt(text, longest)


def delivery_number() -> int:
    """Microseconds of the stream's clock: tells deliveries of one message apart, and orders them."""
    return int((_installed.writer.now() if _installed else time.time()) * 1_000_000)
