"""Schedules as pages and programs are told of them: what Beat sends, and when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django_celery_beat.models import PeriodicTask

from jobs.job_frame import epoch
from jobs.liveness import heartbeat_state
from jobs.models import Heartbeat
from jobs.scopes import Scope
from jobs.ticks.plans import expression
from workers.schedules import next_run, problem
from workers.signatures import route_of

NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Schedule:
    """A row of the list; `problem` is why Beat can't run it."""

    id: int
    name: str
    task: str
    words: str
    expression: str | None
    zone: str | None
    enabled: bool
    last: datetime | None
    next: datetime | None
    overdue: bool
    problem: str | None


@dataclass(frozen=True)
class Standing:
    """By what the list is in order."""

    row: Any
    problem: str | None
    next: datetime | None


def read_schedules(now: datetime, scope: Scope) -> list[Schedule]:
    """All that the scope shows, worst first; one statement."""
    return read_rows(now, scope)[1]


def read_rows(
    now: datetime, scope: Scope, page: slice = slice(None)
) -> tuple[dict[int, PeriodicTask], list[Schedule]]:
    """Those of a page of the same, with the rows of all, by number."""
    rows = PeriodicTask.objects.select_related(
        "interval", "crontab", "solar", "clocked", "policy", "timeline"
    )
    visible = {row.pk: row for row in rows if scope.covers(row.task, queue_of(row))}
    standings = sorted((_standing_of(row, now) for row in visible.values()), key=_worst_first)
    return visible, [_told(standing, now) for standing in standings[page]]


def queue_of(row: PeriodicTask) -> str:
    """Where its jobs go."""
    return str(row.queue or route_of(row.task))


def read_beat(now: datetime) -> dict[str, Any]:
    """How Beat is, and when it was last heard."""
    return beat_of(Heartbeat.objects.filter(name="beat").first(), now)


def beat_of(heartbeat: Heartbeat | None, now: datetime) -> dict[str, Any]:
    """The same, of its last sign of life."""
    return {"state": heartbeat_state(heartbeat, now), "seen": epoch(heartbeat.at if heartbeat else None)}


def schedule_of(row: Any, now: datetime) -> Schedule:
    """A row as it is told."""
    return _told(_standing_of(row, now), now)


def _standing_of(row: Any, now: datetime) -> Standing:
    fault = problem(row)
    return Standing(row, fault, None if fault else next_run(row, now))


def _told(standing: Standing, now: datetime) -> Schedule:
    """With its words, which take a while to find."""
    row, following = standing.row, standing.next
    return Schedule(
        id=row.pk,
        name=row.name,
        task=row.task,
        words=row.crontab.human_readable if row.crontab else str(row.scheduler or ""),
        expression=expression(row.crontab) if row.crontab else None,
        zone=str(row.crontab.timezone) if row.crontab else None,
        enabled=row.enabled,
        last=row.last_run_at,
        next=following,
        overdue=following is not None and following <= now,
        problem=standing.problem,
    )


def _worst_first(standing: Standing) -> tuple[bool, bool, datetime, str]:
    row = standing.row
    return (standing.problem is None, not row.enabled, standing.next or NEVER, row.name)
