"""What a job logs goes into the record, as events, live and capped.

Lines wait for half a second at most, and go together. Of a job that says too
much the first lines are kept, and how many were left out is told at its end.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from django.conf import settings

import nightdesk
from workers.running import Run, call_later, current

EVENT = "job-log"
LINGER = 0.5
# What one event may carry: the recorder cuts longer ones.
EVENT_LENGTH = 5_000
LINE_LENGTH = 2_000
# Celery, Django and the recorder speak of themselves in a job's process.
OF_THE_JOB = "celery.task"
NOT_OF_THE_JOB = ("celery.", "nightdesk", "kombu", "amqp", "django.db")

Line = tuple[float, str, str, str]


class JobLog:
    """The lines of one execution."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._lines: list[Line] = []
        self._size = self._number = self._bytes = self._left_out = 0
        self._planned = False

    def add(self, line: Line) -> None:
        """Keep a line, unless there are too many."""
        with self._lock:
            if (
                self._number + len(self._lines) >= settings.JOB_LOG_LINES
                or self._bytes >= settings.JOB_LOG_BYTES
            ):
                self._left_out += 1
                return
            size = len(line[3]) + 40
            full = self._lines and self._size + size > EVENT_LENGTH
            sent = self._taken() if full else None
            self._lines.append(line)
            self._size += size
            self._bytes += len(line[3])
            planned, self._planned = self._planned, True
        if sent:
            self._emit(*sent)
        if not planned:
            call_later(LINGER, self.flush)

    def flush(self, last: bool = False) -> None:
        """Send what waits; the `last` time, with how many lines were left out."""
        with self._lock:
            self._planned = False
            number, lines = self._taken()
            left_out = self._left_out if last else 0
        if lines or left_out:
            self._emit(number, lines, left_out)

    def _taken(self) -> tuple[int, list[Line]]:
        """The lines that wait, and the number of the first one."""
        number, lines = self._number, self._lines
        self._number, self._lines, self._size = number + len(lines), [], 0
        return number, lines

    def _emit(self, number: int, lines: list[Line], left_out: int = 0) -> None:
        now = time.time()
        told = [(round(now - at, 6), *rest) for at, *rest in lines]  # which no clock can falsify
        nightdesk.emit(
            EVENT, **self._run.names(), meta={"first": number, "lines": told, "left_out": left_out}
        )


class JobLogHandler(logging.Handler):
    """Gives what is logged while a job runs to its log; of threads that it starts, nothing is known."""

    def emit(self, record: logging.LogRecord) -> None:
        run = current.get()
        if run is None or not _is_of_the_job(record.name):
            return
        try:
            run.log.add((record.created, record.levelname, record.name, _text(record)))
        except Exception:  # noqa: BLE001 logging never hurts a job
            self.handleError(record)


def _is_of_the_job(logger: str) -> bool:
    return logger.startswith(OF_THE_JOB) or not logger.startswith(NOT_OF_THE_JOB)


def _text(record: logging.LogRecord) -> str:
    text = (
        record.msg["event"] if isinstance(record.msg, dict) and "event" in record.msg else record.getMessage()
    )
    if record.exc_info and record.exc_info[1] is not None:
        text = f"{text}\n{record.exc_info[0].__name__}: {record.exc_info[1]}" if record.exc_info[0] else text
    text = str(text)
    return text if len(text) <= LINE_LENGTH else f"{text[:LINE_LENGTH]} …"


def begin(run: Run) -> None:
    run.log = JobLog(run)


def end(run: Run) -> None:
    """Send the rest."""
    if run.log is not None:
        run.log.flush(last=True)


def listen(**_: Any) -> None:
    """From now on, in this process."""
    root = logging.getLogger()
    if settings.JOB_LOG_LINES and not any(isinstance(handler, JobLogHandler) for handler in root.handlers):
        root.addHandler(JobLogHandler(level=str(settings.LOGGING["level"])))
