"""A worker's request that knows which delivery of its message it is."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from celery.worker.request import Request

from nightdesk import recorder


class RecordedRequest(Request):
    """Celery's request; each event it sends names the attempt it belongs to."""

    @cached_property
    def delivery(self) -> int:
        """When this delivery was taken, in microseconds of the stream's clock."""
        return recorder.delivery_number()

    def send_event(self, type: str, **fields: Any) -> None:
        retries = self.request_dict.get("retries") or 0
        super().send_event(type, delivery=self.delivery, retries=retries, **fields)
