"""The last outcomes of a schedule as shapes: one bar a tick, the latest on the right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import OuterRef, Q, Subquery
from django.utils.translation import gettext as _
from django_celery_beat.models import PeriodicTask

from dashboard.tick_words import OUTCOMES
from jobs.models import Cluster, Job, Tick
from jobs.scopes import Scope

SHOWN = 60
BAR, PITCH, HEIGHT = 2, 3, 18
LATE = timedelta(seconds=30)
# Of a look: its tone, and the spans of its bar from the top.
LOOKS: dict[str, tuple[str, tuple[tuple[int, int], ...]]] = {
    "ok": ("f-ok", ((9, 18),)),
    "late": ("f-warn", ((4, 7), (9, 18))),
    "failed": ("f-bad", ((0, 18),)),
    "sent": ("f-run", ((7, 11), (13, 18))),
    "missed": ("f-bad", ((0, 2), (5, 7), (11, 13), (16, 18))),
    "left out": ("f-idle", ((16, 18),)),
}


@dataclass(frozen=True)
class JobFacts:
    """What is known of a tick's job; `took` in seconds."""

    state: str
    took: float | None


@dataclass(frozen=True)
class Strip:
    """An outcome strip: paths by their class, and what it tells in words."""

    width: int
    height: int
    paths: tuple[tuple[str, str], ...]
    label: str
    missed: int
    last_missed: bool


def latest_ticks(schedules: Collection[int], most: int = SHOWN) -> dict[int, list[Tick]]:
    """The last ticks of each of these schedules, the earliest first; two statements."""
    nth = Tick.objects.filter(schedule=OuterRef("pk")).order_by("-due").values("due")[most - 1 : most]
    begins = PeriodicTask.objects.filter(pk__in=schedules).annotate(begin=Subquery(nth))
    wanted = Q(pk__in=())
    for pk, begin in begins.values_list("pk", "begin"):
        wanted |= Q(schedule=pk) if begin is None else Q(schedule=pk, due__gte=begin)
    found: dict[int, list[Tick]] = {pk: [] for pk in schedules}
    for tick in Tick.objects.filter(wanted).order_by("due"):
        found[tick.schedule_id].append(tick)
    return found


def jobs_of_ticks(ticks: Collection[Tick], scope: Scope) -> dict[str, JobFacts]:
    """What is recorded of their jobs; one statement."""
    ids = [tick.task_id for tick in ticks if tick.task_id]
    rows = Job.objects.within(scope).filter(cluster=Cluster.DEFAULT_ID, task_id__in=ids)
    told = rows.values_list("task_id", "state", "started_at", "ended_at")
    return {task_id: JobFacts(state, _took(begun, ended)) for task_id, state, begun, ended in told}


def _took(begun: datetime | None, ended: datetime | None) -> float | None:
    return None if begun is None or ended is None else max(0.0, (ended - begun).total_seconds())


def look_of(tick: Tick, job: JobFacts | None) -> str:
    """How a tick is drawn: one of LOOKS."""
    if tick.outcome == Tick.Outcome.MISSED:
        return "missed"
    if tick.outcome != Tick.Outcome.FIRED:
        return "sent" if tick.outcome == Tick.Outcome.HELD else "left out"
    if job is not None and job.state in ("failed", "rejected"):
        return "failed"
    if tick.fired_at is not None and tick.fired_at - tick.due > LATE:
        return "late"
    return "ok" if job is not None and job.state == "succeeded" else "sent"


def strip_of(ticks: Sequence[Tick], jobs: Mapping[str, JobFacts]) -> Strip:
    """The strip of these ticks, the earliest first."""
    looks = [look_of(tick, jobs.get(tick.task_id or "")) for tick in ticks[-SHOWN:]]
    spans: dict[str, str] = {}
    for place, look in enumerate(looks):
        tone, parts = LOOKS[look]
        left = (SHOWN - len(looks) + place) * PITCH
        drawn = "".join(f"M{left} {top}h{BAR}V{bottom}h-{BAR}z" for top, bottom in parts)
        spans[tone] = spans.get(tone, "") + drawn
    counts = Counter(looks)
    return Strip(
        SHOWN * PITCH,
        HEIGHT,
        tuple(spans.items()),
        _label(counts),
        counts["missed"],
        looks[-1:] == ["missed"],
    )


def _label(counts: Counter[str]) -> str:
    if not counts:
        return _("No tick yet")
    parts = [f"{count} {OUTCOMES[look]}" for look, count in counts.most_common()]
    return _("Last %(count)d ticks: %(parts)s") % {"count": counts.total(), "parts": ", ".join(parts)}
