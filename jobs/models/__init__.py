"""All tables of the record: what happened, what people did, and what they wish for."""

from __future__ import annotations

from jobs.models.people import Action, Reach
from jobs.models.record import (
    ENDED,
    Attempt,
    Bucket,
    Cluster,
    Gap,
    Heartbeat,
    Job,
    Payload,
    Position,
    Producer,
    Quarantine,
    QueueSample,
    Standing,
    State,
    Visible,
    Worker,
    WorkerSample,
)
from jobs.models.wishes import Order, Outgoing, Pause, Revocation

__all__ = [
    "ENDED",
    "Action",
    "Attempt",
    "Bucket",
    "Cluster",
    "Gap",
    "Heartbeat",
    "Job",
    "Order",
    "Outgoing",
    "Pause",
    "Payload",
    "Position",
    "Producer",
    "Quarantine",
    "QueueSample",
    "Reach",
    "Revocation",
    "Standing",
    "State",
    "Visible",
    "Worker",
    "WorkerSample",
]
