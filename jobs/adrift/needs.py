"""Jobs adrift as rows of what needs somebody: those of one worker, queue or task are one row. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from jobs.adrift.rules import What
from jobs.adrift.telling import Adrift, Group
from jobs.alerts.findings import Evidence
from jobs.attention import Need
from jobs.models.alerts import About, Severity

# What each is about, and by which name; jobs whose worker is gone may be of any task.
ABOUT: Mapping[What, About] = {"orphaned": About.WORKER, "lost": About.QUEUE, "stuck": About.TASK}


def needs_of(adrift: Adrift, dead: Collection[str]) -> list[Need]:
    """What there is to tell beside the rows of workers that are `dead`, which tell what ran there."""
    together: dict[tuple[What, str], list[Group]] = {}
    for group in adrift.groups:
        for name in _named(group):
            if not (group.what == "orphaned" and name in dead):
                together.setdefault((group.what, name), []).append(group)
    return [_need(what, name, groups, adrift.more) for (what, name), groups in together.items()]


def _named(group: Group) -> Iterator[str]:
    name = {"orphaned": group.worker, "lost": group.queue, "stuck": group.task}[group.what]
    if name is not None:
        yield name


def _need(what: What, name: str, groups: Sequence[Group], more: bool) -> Need:
    oldest = min(groups, key=lambda group: (group.since or 0.0, group.job))
    facts: Evidence = {
        "value": sum(group.count for group in groups),
        "more": int(more),
        "next": _one_of({group.next for group in groups}),
        "again_at": _earliest(group.again_at for group in groups),
        "job": oldest.job,
    }
    return Need(ABOUT[what], name, what, Severity.WARN, oldest.since, facts)


def _one_of(words: Collection[str]) -> str:
    """The word that holds for all of them."""
    return next(iter(words)) if len(words) == 1 else "mixed"


def _earliest(moments: Iterable[float | None]) -> float | None:
    return min((moment for moment in moments if moment is not None), default=None)
