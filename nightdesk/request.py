"""A worker's request that knows which delivery of its message it is."""

from __future__ import annotations

import os
from typing import Any

from celery.exceptions import TaskRevokedError
from celery.utils.serialization import get_pickled_exception
from celery.worker.request import Request
from celery.worker.state import revoked
from kombu.utils.encoding import safe_repr

from nightdesk import recorder
from nightdesk.messages import DELIVERY

# What the pool's library calls an exception with its traceback as text.
WRAPPING = "ExceptionWithTraceback"


class RecordedRequest(Request):
    """Celery's request; each event it sends names the attempt it belongs to, and so can the pool's process.

    A delivery is known by when it was taken, in microseconds of the stream's clock.
    """

    _fault: Exception | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.request_dict[DELIVERY] = recorder.delivery_number()

    def on_accepted(self, pid: Any, time_accepted: float) -> None:
        """A thread takes what was handed to the pool long ago: it may have been revoked since.

        Celery looks before it hands over, which a pool of processes lets it do late enough.
        """
        if pid == os.getpid() and self.id in revoked and self.revoked():
            raise TaskRevokedError(self.id)
        super().on_accepted(pid, time_accepted)

    def on_failure(self, exc_info: Any, *args: Any, **options: Any) -> Any:
        """Of a fault that the main process makes (a lost process, a time limit) Celery tells the wrapping."""
        if type(exc_info.exception).__name__ == WRAPPING:
            self._fault = exc_info.exception.exc
        return super().on_failure(exc_info, *args, **options)

    def send_event(self, type: str, **fields: Any) -> None:
        told = self.request_dict
        if type == "task-failed" and self._fault is not None:
            fields["exception"] = safe_repr(get_pickled_exception(self._fault))
        super().send_event(type, delivery=told[DELIVERY], retries=told.get("retries") or 0, **fields)
