"""All tables of the record: what happened, what people did, and what they wish for."""

from __future__ import annotations

from jobs.models.alerts import Alert, AlertChange, Rule, SeenError
from jobs.models.bulk import Bulk, BulkItem
from jobs.models.dead import DeadLetter
from jobs.models.enqueued import Enqueued, Tag
from jobs.models.errors import Error, ErrorCount, ErrorJob, Ungrouped
from jobs.models.logs import LogPart
from jobs.models.metrics import Series, Total
from jobs.models.notices import Channel, ChannelKind, Notice
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
    Worker,
    WorkerSample,
)
from jobs.models.reports import WorkerReport
from jobs.models.schedules import BeatLease, CatchUp, Overlap, SchedulePolicy, Tick, Timeline
from jobs.models.tokens import Answer, Bearer, Token
from jobs.models.triggers import Firing, Trigger
from jobs.models.visible import Visible
from jobs.models.wishes import Order, Outgoing, Pause, Revocation

__all__ = [
    "ENDED",
    "Action",
    "Alert",
    "AlertChange",
    "Answer",
    "Attempt",
    "Bearer",
    "BeatLease",
    "Bucket",
    "Bulk",
    "BulkItem",
    "CatchUp",
    "Channel",
    "ChannelKind",
    "Cluster",
    "DeadLetter",
    "Enqueued",
    "Error",
    "ErrorCount",
    "ErrorJob",
    "Firing",
    "Gap",
    "Heartbeat",
    "Job",
    "LogPart",
    "Notice",
    "Order",
    "Outgoing",
    "Overlap",
    "Pause",
    "Payload",
    "Position",
    "Producer",
    "Quarantine",
    "QueueSample",
    "Reach",
    "Revocation",
    "Rule",
    "SchedulePolicy",
    "SeenError",
    "Series",
    "Standing",
    "State",
    "Tag",
    "Tick",
    "Timeline",
    "Token",
    "Total",
    "Trigger",
    "Ungrouped",
    "Visible",
    "Worker",
    "WorkerReport",
    "WorkerSample",
]
