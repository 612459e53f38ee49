"""What the pages of schedules show beside the list's facts: outcomes, next ticks, how long jobs take."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from django.db.models import Q
from django.utils.dateformat import format as date_format
from django_celery_beat.models import PeriodicTask

from dashboard import zones
from dashboard.schedule_rows import Schedule
from dashboard.tick_strips import JobFacts, Strip, jobs_of_ticks, latest_ticks, strip_of
from dashboard.tick_words import why
from jobs.models import Action, SchedulePolicy, Tick
from jobs.perform import REDACTOR
from jobs.scopes import Scope
from jobs.ticks.deciding import Plan, due_between, fires_at, next_due
from jobs.ticks.plans import policy_of

NEXT = 10
PAGE = 50
EDITS = 10
# How far back to look for what would have run, step by step.
SPANS = tuple(timedelta(days=days) for days in (0.001, 0.05, 1, 31, 400, 1_600))


@dataclass(frozen=True)
class Listed(Schedule):
    """A row of the list with its outcomes; `takes` and `period` in seconds, None where not known."""

    strip: Strip
    late: float | None
    takes: float | None
    period: float | None
    paused_until: datetime | None
    owner: str

    @property
    def share(self) -> float | None:
        """How much of its period a job takes."""
        return self.takes / self.period if self.takes is not None and self.period else None


@dataclass(frozen=True)
class Due:
    """A due time: `shift` is by how many minutes clocks have changed since the one before it."""

    due: datetime
    local: datetime
    fires_at: datetime
    shift: int

    @property
    def there(self) -> str:
        """What the clock on the wall shows there; empty where it has no zone of its own, or the visitor's."""
        is_here = str(self.local.tzinfo) == zones.current_name()
        return "" if self.local.tzinfo is UTC or is_here else date_format(self.local, "D H:i T")


@dataclass(frozen=True)
class Evidence:
    """A tick with what is known of its job."""

    tick: Tick
    why: str
    late: float | None
    job: JobFacts | None


def listed(schedules: Sequence[Schedule], rows: Mapping[int, PeriodicTask], scope: Scope) -> list[Listed]:
    """These rows of the list with their outcomes, worst first; three statements."""
    ticks = latest_ticks([one.id for one in schedules])
    jobs = jobs_of_ticks([tick for each in ticks.values() for tick in each], scope)
    shown = [_listed(one, ticks[one.id], jobs, policy_of(rows[one.id])) for one in schedules]
    return sorted(shown, key=lambda one: (one.problem is None, not one.strip.last_missed))


def _listed(
    one: Schedule, ticks: Sequence[Tick], jobs: Mapping[str, JobFacts], policy: SchedulePolicy | None
) -> Listed:
    fired = [tick for tick in ticks if tick.fired_at is not None]
    took = sorted(
        job.took for tick in fired if (job := jobs.get(tick.task_id or "")) and job.took is not None
    )
    return Listed(
        **asdict(one),
        strip=strip_of(ticks, jobs),
        late=_late(fired[-1]) if fired else None,
        takes=took[min(len(took) - 1, int(len(took) * 0.95))] if took else None,
        period=_period(ticks),
        paused_until=policy.paused_until if policy else None,
        owner=policy.owner if policy else "",
    )


def _late(tick: Tick) -> float | None:
    return None if tick.fired_at is None else max(0.0, (tick.fired_at - tick.due).total_seconds())


def _period(ticks: Sequence[Tick]) -> float | None:
    """From the last tick but one to the last."""
    return (ticks[-1].due - ticks[-2].due).total_seconds() if len(ticks) > 1 else None


def coming(plan: Plan, after: datetime, most: int = NEXT) -> list[Due]:
    """The next due times after a moment, as they are on the wall of the schedule's zone."""
    zone = getattr(plan.rhythm, "zone", None)
    dues: list[datetime] = []
    while len(dues) < most and (due := next_due(plan, dues[-1] if dues else after)) is not None:
        dues.append(due)
    return _on_the_wall(plan, dues, zone)


def _on_the_wall(plan: Plan, dues: Iterable[datetime], zone: Any) -> list[Due]:
    shown: list[Due] = []
    for due in dues:
        local = due.astimezone(zone) if zone else due
        before = shown[-1].local.utcoffset() if shown else local.utcoffset()
        shift = (local.utcoffset() or timedelta(0)) - (before or timedelta(0))
        shown.append(Due(due, local, fires_at(plan, due), int(shift.total_seconds() // 60)))
    return shown


def gone_by(plan: Plan, now: datetime, most: int = 5) -> list[datetime]:
    """The last due times before now, the earliest first: when it would have run."""
    found: list[datetime] = []
    for span in SPANS:
        found = list(islice(due_between(plan, now - span, now), 5_000))
        if len(found) >= most:
            break
    return found[-most:]


def carried(text: str | None) -> str:
    """The arguments of a schedule's jobs without secrets; empty where they can't be read."""
    try:
        value = json.loads(text or "null")
    except ValueError:
        return ""
    return "" if value is None else json.dumps(REDACTOR.clean(value, 1_000).value, ensure_ascii=False)


def evidence(schedule: int, before: int, scope: Scope) -> tuple[list[Evidence], int | None]:
    """A page of its ticks, the latest first, and where the next page begins."""
    rows = Tick.objects.filter(schedule=schedule)
    if before:
        rows = rows.filter(due__lt=datetime.fromtimestamp(before / 1e6, tz=UTC))
    ticks = list(rows.order_by("-due")[: PAGE + 1])
    jobs = jobs_of_ticks(ticks[:PAGE], scope)
    shown = [Evidence(tick, why(tick), _late(tick), jobs.get(tick.task_id or "")) for tick in ticks[:PAGE]]
    return shown, round(ticks[PAGE - 1].due.timestamp() * 1e6) if len(ticks) > PAGE else None


def edits_of(name: str, user: Any) -> list[Action]:
    """Who changed it, on a page or in the admin, the latest first."""
    here = Q(target_kind="schedule", target=name[:255])
    there = Q(target_kind="periodictask", target__startswith=f"{name}: ")
    return list(Action.objects.visible_to(user).filter(here | there).order_by("-pk")[:EDITS])
