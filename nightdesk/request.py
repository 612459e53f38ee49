"""A worker's request that knows which delivery of its message it is."""

from __future__ import annotations

from typing import Any

from celery.worker.request import Request

from nightdesk import recorder
from nightdesk.messages import DELIVERY


class RecordedRequest(Request):
    """Celery's request; each event it sends names the attempt it belongs to, and so can the pool's process.

    A delivery is known by when it was taken, in microseconds of the stream's clock.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.request_dict[DELIVERY] = recorder.delivery_number()

    def send_event(self, type: str, **fields: Any) -> None:
        told = self.request_dict
        super().send_event(type, delivery=told[DELIVERY], retries=told.get("retries") or 0, **fields)
