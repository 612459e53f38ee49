"""Notices: what channels are to be told of an alert, written in the transaction that changes it."""

from __future__ import annotations

from typing import Literal

from jobs.models import Alert

Event = Literal["firing", "resolved", "escalated", "acknowledged"]


def put(alert: Alert, event: Event) -> None:
    """Have the channels of the alert's rule told of this event, once."""
