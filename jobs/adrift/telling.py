"""What the monitor tells of jobs adrift, and how it is read: like ones together, with the oldest of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from jobs.adrift.reading import Looked
from jobs.adrift.rules import WHATS, Finding, OpenJob, What
from jobs.job_frame import epoch
from jobs.liveness import seconds_since
from jobs.models import ENDED, Heartbeat, Job
from jobs.scopes import Scope
from jobs.trust import Trust, detail_of

# Under this name the monitor's last look stands beside its signs of life; after so many seconds it is old.
NAME = "adrift"
TRUE_FOR = 60.0
MOST_GROUPS, MOST_JOBS = 50, 300


@dataclass(frozen=True)
class Group:
    """Jobs of one task, queue and worker that are the same: how many, since when (seconds since the epoch),
    what comes next, and the number of the oldest."""

    what: What
    task: str | None
    queue: str | None
    worker: str | None
    next: str
    count: int
    since: float | None
    again_at: float | None
    job: int


@dataclass(frozen=True)
class Adrift:
    """What is known to be adrift, as one scope shows it; `more`: there may be more than is counted."""

    groups: Sequence[Group] = ()
    more: bool = False


def told(looked: Looked) -> dict[str, Any]:
    """The detail of the sign of life, worst first. Pure."""
    groups = _groups(looked.found)
    of_each = {what: [group for group in groups if group.what == what] for what in WHATS}
    kept = [asdict(group) for alike in of_each.values() for group in alike[:MOST_GROUPS]]
    jobs = {
        str(job.id): [[job.state, job.attempts], _of_one(finding)]
        for job, finding in looked.found[:MOST_JOBS]
    }
    return {"groups": kept, "more": looked.more or len(groups) > len(kept), "jobs": jobs}


def _of_one(finding: Finding) -> dict[str, Any]:
    """The `adrift` of a job's frame."""
    return {
        "what": finding.what,
        "since": epoch(finding.since),
        "next": finding.next,
        "again_at": epoch(finding.again_at),
        "usual": finding.usual,
    }


def _groups(found: Iterable[tuple[OpenJob, Finding]]) -> list[Group]:
    together: dict[tuple[Any, ...], list[tuple[OpenJob, Finding]]] = {}
    for job, finding in found:
        key = (finding.what, job.task, job.queue, job.worker, finding.next)
        together.setdefault(key, []).append((job, finding))
    groups = [_group(alike) for alike in together.values()]
    return sorted(groups, key=lambda group: (WHATS.index(group.what), group.since or 0.0, group.job))


def _group(alike: Sequence[tuple[OpenJob, Finding]]) -> Group:
    oldest, finding = min(alike, key=lambda pair: (pair[1].since, pair[0].id))
    again = [other.again_at for _, other in alike if other.again_at is not None]
    return Group(
        what=finding.what,
        task=oldest.task,
        queue=oldest.queue,
        worker=oldest.worker,
        next=finding.next,
        count=len(alike),
        since=epoch(finding.since),
        again_at=epoch(min(again, default=None)),
        job=oldest.id,
    )


def read(trust: Trust, scope: Scope) -> Adrift:
    """What the monitor told last, if that is still true, and unless we are blind; no statement."""
    if trust.is_blind:
        return Adrift()
    detail = _still_true(trust.heartbeats.get(NAME), trust.now)
    groups = [Group(**row) for row in detail.get("groups", ())]
    visible = [group for group in groups if scope.covers(group.task, group.queue)]
    return Adrift(visible, bool(visible) and bool(detail.get("more")))


def of_job(job: Job, now: datetime) -> dict[str, Any] | None:
    """What the monitor told last of a job, if it still stands as it did; one statement for an open one."""
    if job.state in ENDED:
        return None
    detail = _still_true(Heartbeat.objects.filter(name=NAME).first(), now)
    stood, adrift = detail.get("jobs", {}).get(str(job.pk), (None, None))
    return adrift if stood == [job.state, job.attempts] else None


def _still_true(heartbeat: Heartbeat | None, now: datetime) -> dict[str, Any]:
    if heartbeat is None or seconds_since(heartbeat.at, now) > TRUE_FOR:
        return {}
    return detail_of(heartbeat)
