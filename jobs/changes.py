"""What happened beside the jobs: workers that came and went, releases, what was told of others. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from jobs.liveness import WORKER_DEAD_AFTER
from jobs.models import Worker

What = Literal[
    "worker online", "worker offline", "worker silent", "release", "action", "gap", "alert", "resolved"
]
# What several workers did within this time, they did together: a host went, a deploy began.
TOGETHER = timedelta(minutes=1)
# Workers of a release that came with it are told by the release.
WITH_RELEASE = timedelta(minutes=10)


@dataclass(frozen=True)
class Changed:
    """Something that happened. `name` is whom it is about, `detail` what of it; `place` leads to its page:
    a worker's, an action's or an alert's number. `count` workers did it together."""

    at: datetime
    what: What
    name: str
    detail: str = ""
    place: int | None = None
    count: int = 1


def of_workers(
    known: Iterable[Worker], begin: datetime, end: datetime, as_of: datetime | None = None
) -> list[Changed]:
    """What workers did from `begin` to before `end`: each that came or went, and new releases.

    Who was not heard of since `as_of` may not have been listened to: nobody is silent before that.
    """
    workers = [worker for worker in known if worker.online_at is None or worker.online_at < end]
    goings = _goings(workers, begin, end, min(end, as_of or end))
    return [*_comings(workers, begin, end), *goings, *releases(workers, begin, end)]


def _comings(workers: Iterable[Worker], begin: datetime, end: datetime) -> Iterator[Changed]:
    for worker in workers:
        if worker.online_at is not None and begin <= worker.online_at < end:
            yield Changed(worker.online_at, "worker online", worker.name, worker.release or "", worker.pk)


def _goings(
    workers: Iterable[Worker], begin: datetime, end: datetime, heard_until: datetime
) -> Iterator[Changed]:
    """Those that said goodbye, and those that were not heard of again."""
    for worker in workers:
        if worker.offline_at is not None:
            if begin <= worker.offline_at < end:
                yield Changed(worker.offline_at, "worker offline", worker.name, "", worker.pk)
        elif begin <= worker.seen_at < heard_until - timedelta(seconds=WORKER_DEAD_AFTER):
            yield Changed(worker.seen_at, "worker silent", worker.name, "", worker.pk)


def releases(workers: Iterable[Worker], begin: datetime, end: datetime) -> list[Changed]:
    """Releases that the first worker of which came up in the span, after workers of another one."""
    first: dict[str, datetime] = {}
    for worker in workers:
        if worker.release and worker.online_at is not None:
            first[worker.release] = min(worker.online_at, first.get(worker.release, worker.online_at))
    earliest = min(first.values(), default=None)
    return [
        Changed(at, "release", release)
        for release, at in first.items()
        if begin <= at < end and earliest is not None and at > earliest
    ]


def in_short(changes: Iterable[Changed], most: int) -> list[Changed]:
    """The latest `most`, the latest first: workers that did the same together are one change, and those that
    came with their release are told by it."""
    known = list(changes)
    born = {change.name: change.at for change in known if change.what == "release"}
    kept = [change for change in known if not _came_with(change, born)]
    ordered = sorted(kept, key=lambda change: change.at, reverse=True)
    return _together(ordered)[:most]


def _came_with(change: Changed, born: dict[str, datetime]) -> bool:
    at = born.get(change.detail) if change.what == "worker online" else None
    return at is not None and at <= change.at <= at + WITH_RELEASE


def _together(ordered: Sequence[Changed]) -> list[Changed]:
    """`ordered` has the latest first; of those that did the same within a minute the latest stands."""
    short: list[Changed] = []
    for change in ordered:
        place = next((i for i, other in enumerate(short) if _same(other, change)), None)
        if place is None:
            short.append(change)
        else:
            short[place] = replace(short[place], count=short[place].count + 1)
    return short


def _same(later: Changed, change: Changed) -> bool:
    return (
        change.what.startswith("worker ")
        and later.what == change.what
        and later.detail == change.detail
        and later.at - change.at <= TOGETHER
    )
