"""Reading workflows: the latest, and all jobs of one up to a limit; each statement looks into one index."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Count, Max, Min, Q

from jobs.models import Job
from jobs.models.lineage import FOLLOWS, GROUPED
from jobs.scopes import Scope
from jobs.workflows import Member

MOST_MEMBERS = 10_000
# Jobs of workflows that a page of the list looks at, and workflows that it shows.
WINDOW, SHOWN = 2_000, 30
# Jobs that are counted for all workflows of a page together.
MOST_COUNTED = 30_000
MOST_LIVES = 500
# A job's retry, the retry of that, and so on: one statement each.
MOST_GENERATIONS = 5
COLUMNS = (
    "id", "task_id", "task", "queue", "state", "verdict", "root_id", "parent_id", "group_id", "retry_of",
    "published_at", "started_at", "ended_at",
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """The jobs of a workflow. `moved` is the id of the workflow that it is a part of, if so."""

    members: list[Member] = field(default_factory=list)
    more: bool = False
    moved: str | None = None


def read(key: str, cluster_id: int, scope: Scope) -> Found | None:
    """The workflow of this id, a root's or a group's; None if none is to be seen. At most ten statements."""
    jobs = Job.objects.within(scope).filter(cluster=cluster_id)
    first = _members(jobs.filter(task_id=key), 1)
    root = first[0] if first else None
    if root is not None and (whole := _whole_of(root)) != key and not _leads_back(jobs, whole, key):
        return Found(moved=whole)
    if root is None and (of_group := _members(jobs.filter(group_id=key), MOST_MEMBERS + 1)):
        return _of_group(jobs, of_group)
    followers = _members(jobs.filter(FOLLOWS, root_id=key), MOST_MEMBERS + 1)
    if root is None and not followers:
        return None
    return _with_lives(jobs, [*first, *followers])


def _leads_back(jobs: Any, whole: str, key: str) -> bool:
    """Whether odd events have two jobs say of each other that it is the root."""
    return any(_whole_of(job) == key for job in _members(jobs.filter(task_id=whole), 1))


def _whole_of(job: Member) -> str:
    """The id of the workflow that a job is part of, as far as the job itself tells."""
    return whole_of(job.task_id, job.root, job.group)


def whole_of(task_id: str, root: str | None, group: str | None) -> str:
    """The id of the workflow of a job: its root where that is another one, else its group, else itself."""
    return root if root and root != task_id else group or task_id


def _of_group(jobs: Any, members: list[Member]) -> Found:
    """A group that was sent by itself, with what follows its members; or the workflow that it stands in."""
    # Odd events may name the group itself as its root: it is no way to elsewhere.
    roots = {one.root for one in members if one.root} - {members[0].group}
    own = {one.task_id for one in members}
    if len(roots) == 1 and not roots <= own:
        return Found(moved=roots.pop())
    inner = jobs.filter(group_id=members[0].group).values("root_id")[:MOST_MEMBERS]
    beside = Q(group_id__isnull=True) | ~Q(group_id=members[0].group)
    begun = _members(jobs.filter(beside, task_id__in=inner), MOST_MEMBERS) if not roots <= own else []
    after = _members(jobs.filter(FOLLOWS, beside, root_id__in=inner), MOST_MEMBERS)
    return _with_lives(jobs, [*members, *begun, *after])


def _with_lives(jobs: Any, members: list[Member]) -> Found:
    """With the second lives of those that failed, the lives of these, and so on."""
    whole, fresh = {one.id: one for one in members}, members
    for _ in range(MOST_GENERATIONS):
        failed = [one.task_id for one in fresh if one.state in ("failed", "rejected", "revoked")]
        if not failed:
            break
        lives = _members(jobs.filter(retry_of__in=failed[:MOST_LIVES]), MOST_MEMBERS)
        fresh = [one for one in lives if one.id not in whole]
        whole |= {one.id: one for one in fresh}
    known = list(whole.values())
    return Found(known[:MOST_MEMBERS], more=len(known) > MOST_MEMBERS)


def _members(rows: Any, most: int) -> list[Member]:
    return [Member(*told) for told in rows.order_by().values_list(*COLUMNS)[:most]]


class Part(NamedTuple):
    """What the list reads of a job in a workflow."""

    id: int
    task_id: str
    task: str | None
    queue: str | None
    root: str | None
    group: str | None
    state: str
    published: datetime | None
    ended: datetime | None


PART_COLUMNS = ("id", "task_id", "task", "queue", "root_id", "group_id", "state", "published_at", "ended_at")


@dataclass
class Summary:
    """A workflow in the list. `task` is that of its root; None where it is a group sent by itself.

    Of such a group, what followed its members is counted as far as it is among the latest jobs.
    """

    id: str
    task: str | None = None
    tasks: list[str] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    published: datetime | None = None
    ended: datetime | None = None

    def add(self, state: str, count: int, published: datetime | None, ended: datetime | None) -> None:
        """So many jobs more, the first published and the last ended then."""
        self.states[state] += count
        self.published = min((at for at in (self.published, published) if at), default=None)
        self.ended = max((at for at in (self.ended, ended) if at), default=None)


Keyed = Mapping[str, list[Part]]


@dataclass(frozen=True)
class Latest:
    """A page of workflows, the latest first.

    `older` is where the next one begins; `capped` says that not all of their jobs were counted.
    """

    workflows: list[Summary]
    older: int | None
    capped: bool


def latest(cluster_id: int, scope: Scope, before: int | None) -> Latest:
    """Workflows by their latest job that followed another one or was in a group; at most four statements."""
    rows = Job.objects.filter(FOLLOWS | GROUPED, cluster=cluster_id)
    rows = rows if before is None else rows.filter(pk__lt=before)
    window = _parts(rows.order_by("-pk")[:WINDOW])
    keyed = keys_of(part for part in window if scope.covers(part.task, part.queue))
    shown = dict(list(keyed.items())[:SHOWN])
    jobs = Job.objects.within(scope).filter(cluster=cluster_id)
    roots = {root.task_id: root for root in _parts(jobs.filter(task_id__in=list(shown)))}
    summaries, capped = _counted(jobs, joined(shown, roots), roots)
    return Latest(summaries, _edge(window, keyed, shown), capped)


def _parts(rows: Any) -> list[Part]:
    return [Part(*told) for told in rows.values_list(*PART_COLUMNS)]


def _edge(window: Sequence[Part], keyed: Keyed, shown: Keyed) -> int | None:
    """Where the next page begins: with the first that is not shown, or behind the window."""
    if len(shown) < len(keyed):
        return keyed[list(keyed)[len(shown)]][0].id + 1
    return window[-1].id if len(window) == WINDOW else None


def keys_of(parts: Iterable[Part]) -> dict[str, list[Part]]:
    """Jobs by the id of their workflow, in the order in which these first appear. Pure."""
    known = list(parts)
    roots: dict[str, set[str | None]] = defaultdict(set)
    for part in known:
        if part.group:
            roots[part.group].add(part.root)
    # What follows a member of a group sent by itself has that member as its root.
    groups = {root: group for group, of_it in roots.items() if len(of_it) > 1 for root in of_it if root}
    groups |= {part.task_id: part.group for part in known if part.group and part.root == part.task_id}
    found: dict[str, list[Part]] = {}
    for part in known:
        key = whole_of(part.task_id, part.root, part.group)
        found.setdefault(groups.get(key, key), []).append(part)
    return found


def joined(keyed: Keyed, roots: Mapping[str, Part]) -> dict[str, list[Part]]:
    """The same, where a root turns out to be a part of another workflow. Pure."""
    found: dict[str, list[Part]] = {}
    for key, parts in keyed.items():
        root = roots.get(key)
        whole = key if root is None else whole_of(root.task_id, root.root, root.group)
        found.setdefault(whole, []).extend(parts)
    return found


def _counted(jobs: Any, keyed: Keyed, roots: Mapping[str, Part]) -> tuple[list[Summary], bool]:
    """What became of the jobs of each, and whether not all were counted; two statements."""
    found = {key: Summary(key) for key in keyed}
    followers = jobs.filter(FOLLOWS, root_id__in=list(found))
    grouped = jobs.filter(group_id__in=[key for key in found if key not in roots])
    counted = [_add(found, followers, "root_id"), _add(found, grouped, "group_id")]
    for key, summary in found.items():
        root, parts = roots.get(key), keyed[key]
        summary.task = root.task if root else None
        summary.tasks = sorted({part.task for part in parts if part.task})
        beside = [root] if root else [part for part in parts if part.root != key and part.group != key]
        for part in beside:
            summary.add(part.state, 1, part.published, part.ended)
    return list(found.values()), max(counted) >= MOST_COUNTED


def _add(found: Mapping[str, Summary], rows: Any, name: str) -> int:
    """Count the jobs of these rows, by workflow and state; how many they were."""
    bounded = rows.model.objects.filter(pk__in=rows.order_by().values("pk")[:MOST_COUNTED])
    told = bounded.order_by().values_list(name, "state")
    total = 0
    for key, *facts in told.annotate(Count("pk"), Min("published_at"), Max("ended_at")):
        found[key].add(*facts)
        total += facts[1]
    return total


def failed_of(members: Collection[Member], healed: Collection[str]) -> list[str]:
    """The task ids of those that failed and have not succeeded since: of a job and its retries, the last."""
    again = {one.retry_of for one in members if one.retry_of and one.state == "failed"}
    gone = again.union(healed)
    return [one.task_id for one in members if one.state == "failed" and one.task_id not in gone]
