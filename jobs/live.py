"""What a frame holds: the dicts of docs/frames.md, made from the database alone.

A page is rendered from the same dict that its socket sends. The cost of a
frame does not grow with the number of jobs: counts come from buckets, depth
from samples, failures from the narrow table of standings.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from jobs import job_frame, scopes, side
from jobs.adrift import telling
from jobs.alert_frame import alerts
from jobs.history import Memory
from jobs.models import Heartbeat, Job, Position
from jobs.overview import overview

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

__all__ = [
    "Memory",
    "Topic",
    "alerts",
    "frame",
    "job",
    "jobs",
    "overview",
    "scope_of",
    "text_of",
    "topic_named",
]

Frame = dict[str, Any]
NAMES = re.compile(
    r"(overview|jobs|queues|workers|schedules|coverage|alerts|job)(?:(?<=job)-([1-9][0-9]{0,17}))?"
)


class Topic(NamedTuple):
    """What a viewer can look at: a name, and the scope of what is shown."""

    kind: str
    job_id: int | None
    scope: str

    def __str__(self) -> str:
        """`name.scope`, as it travels."""
        return (
            f"{self.kind}.{self.scope}" if self.job_id is None else f"{self.kind}-{self.job_id}.{self.scope}"
        )


def scope_of(user: AbstractBaseUser | AnonymousUser) -> str | None:
    """The name of the scope that says how much `user` may see, None for nothing (see jobs.scopes)."""
    scope = scopes.scope_of(user)
    return None if scope is None else scopes.known(scope)


def topic_named(name: str, scope: str) -> Topic:
    """The topic of `name` ("overview", "jobs", "queues", …, "job-17"). Raises ValueError."""
    match = NAMES.fullmatch(name)
    if match is None or (match[1] == "job") != (match[2] is not None):
        raise ValueError(f"no such topic: {name[:40]!r}")
    return Topic(match[1], int(match[2]) if match[2] else None, scope)


def topic_read(text: str) -> Topic:
    """The topic that travelled as `name.scope`. Raises ValueError."""
    name, dot, scope = text.rpartition(".")
    if not dot:
        raise ValueError(f"no such topic: {text[:40]!r}")
    scopes.named(scope)
    return topic_named(name, scope)


def frame(topic: Topic, cluster_id: int, now: datetime, memory: Memory | None = None) -> Frame | None:
    """The present frame of a topic; None if what it is about is not there."""
    if topic.job_id is not None:
        visible = Job.objects.within(scopes.named(topic.scope))
        found = visible.filter(pk=topic.job_id).select_related("payload").first()
        return None if found is None else job(found, topic.scope, now)
    if topic.kind == "overview":
        return overview(cluster_id, topic.scope, now, memory)
    if topic.kind == "alerts":
        return alerts(cluster_id, topic.scope, now)
    if topic.kind == "jobs":
        return jobs(cluster_id, topic.scope, now)
    return heard(topic, now)


def job(found: Job, scope: str, now: datetime) -> Frame:
    """The `job` dict of docs/frames.md. At most five statements, and one more for an open job."""
    told = job_frame.job(found, scope, now)
    adrift = telling.of_job(found, now)
    verdict = told["verdict"] or (adrift["what"] if adrift else None)
    return {**told, "verdict": verdict, "adrift": adrift}


def jobs(cluster_id: int, scope: str, now: datetime) -> Frame:
    """Says only that the record has moved: lists ask again with their own filters."""
    committed = Position.objects.filter(cluster=cluster_id).values_list("committed_at", flat=True)
    return _moved("jobs", scope, now, max((at for at in committed if at is not None), default=None))


# Whose sign of life says that a page should ask again.
HEARTBEATS = {"schedules": "beat", "coverage": "monitor", "queues": "monitor", "workers": "monitor"}


def heard(topic: Topic, now: datetime) -> Frame:
    """Says only that Beat has looked at its schedules, or the monitor at broker and workers."""
    heartbeats = Heartbeat.objects.filter(name=HEARTBEATS[topic.kind])
    return _moved(topic.kind, topic.scope, now, heartbeats.values_list("at", flat=True).first())


def _moved(kind: str, scope: str, now: datetime, at: datetime | None) -> Frame:
    """`seq` grows with the moment of the last change, so that every process tells the same one.

    What is counted beside the navigation is told with it.
    """
    return {
        "topic": str(Topic(kind, None, scope)),
        "at": now.timestamp(),
        "seq": int(at.timestamp() * 1000) if at else 0,
        **side.counts(scopes.named(scope), now),
    }


def text_of(frame: Frame) -> str:
    """The frame as it travels."""
    return orjson.dumps(frame).decode()
