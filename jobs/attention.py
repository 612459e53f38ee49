"""What needs somebody, worst first: the alerts that fire, and what the record shows before a rule does. Pure.

One thing is told once: what is about the same queue, task, worker or schedule is one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from jobs.alerts.findings import Evidence
from jobs.alerts.judging import failure_rise
from jobs.alerts.kinds import FailureRise
from jobs.alerts.shapes import Ends, EndsBy, Place
from jobs.headlines import Flow
from jobs.models.alerts import About, Kind, Severity

MOST = 7
# What nobody reads, or nobody is heard of, for so long is not just being started again; seconds.
NOT_A_RESTART = 15.0
GAP_IS_NEWS_FOR = 900.0
# From here on a task that fails is a page, not a warning.
MOST_OF_IT = 0.5

Word = Literal["quiet", "drifting", "burning"]
SEVERITIES = (Severity.PAGE, Severity.WARN, Severity.INFO)
# What a row may say, the most telling first: of two findings about one thing the first is told. All but
# "capacity", "growing", "gap", "lag", "broker" and those of jobs.adrift are kinds of rules.
WHATS: tuple[str, ...] = (
    "broker",
    "lag",
    Kind.BEAT_SILENT,
    Kind.NO_CONSUMER,
    Kind.STALLED,
    Kind.WORKER_DEAD,
    "lost",
    "orphaned",
    Kind.FAILURE_SHARE,
    Kind.FAILURE_RISE,
    Kind.NO_SUCCESS,
    Kind.MISSED_TICK,
    "stuck",
    "capacity",
    "growing",
    Kind.OLDEST,
    Kind.DEPTH,
    Kind.SLOW,
    Kind.NEW_ERROR,
    Kind.DEAD_LETTERS,
    "gap",
)


@dataclass(frozen=True)
class Told:
    """An alert that is open or was resolved lately; `silenced` for now, `owner` who acknowledged it."""

    id: int
    kind: str
    rule: str
    about: str
    key: str
    task: str | None
    severity: str
    since: datetime
    fired_at: datetime | None
    resolved_at: datetime | None
    owner: str
    silenced: bool
    evidence: Evidence

    @property
    def fires(self) -> bool:
        return self.fired_at is not None and self.resolved_at is None


@dataclass(frozen=True)
class Need:
    """Something that needs somebody. `what` is one of WHATS, `facts` its numbers as an alert's evidence has
    them; `since` seconds since the epoch, None where that is not known; `alert` its alert's number and
    `owner` who is on it; `more`, how much else is wrong with it."""

    about: str
    name: str
    what: str
    severity: str
    since: float | None = None
    facts: Evidence = field(default_factory=dict)
    alert: int | None = None
    owner: str = ""
    more: int = 0

    @property
    def thing(self) -> tuple[str, str]:
        """What it is about."""
        return self.about, self.name

    @property
    def place(self) -> tuple[Any, ...]:
        """Where it stands in the list: what nobody is on, by severity, the most telling, the oldest."""
        rank = SEVERITIES.index(Severity(self.severity)), WHATS.index(self.what)
        return (bool(self.owner), *rank, self.since or 0.0, self.name, self.about)


@dataclass(frozen=True)
class Facts:
    """What the record shows at the moment `at`: rows of queues (`jobs.queue_rows`) and of workers, how the
    tasks ended `lately` and in the last day, since when Beat is silent, the end of the last gap, and how many
    events are known to be lost; `others` is what was found elsewhere."""

    at: float
    queues: Sequence[Mapping[str, Any]] = ()
    dead: Sequence[Mapping[str, Any]] = ()
    lately: Mapping[str, Flow] = field(default_factory=dict)
    tasks: Mapping[str, Flow] = field(default_factory=dict)
    beat_silent_since: float | None = None
    last_gap: float | None = None
    lost: int | None = None
    others: Sequence[Need] = ()


@dataclass(frozen=True)
class Attention:
    """All that needs somebody, worst first; `silenced` is how much of it nobody wants to be told."""

    needs: Sequence[Need] = ()
    silenced: int = 0

    @property
    def unowned(self) -> int:
        """How much nobody is on."""
        return sum(not need.owner for need in self.needs)

    @property
    def word(self) -> Word:
        """The word for it: what is information alone burns nothing."""
        if any(need.severity == Severity.PAGE for need in self.needs):
            return "burning"
        return "drifting" if any(_drifts(need) for need in self.needs) else "quiet"

    @property
    def since(self) -> float | None:
        """Since when the word is true, as far as that is known."""
        worst = [need for need in self.needs if need.severity == Severity.PAGE]
        told = worst or [need for need in self.needs if _drifts(need)]
        return min((need.since for need in told if need.since is not None), default=None)


def _drifts(need: Need) -> bool:
    return need.severity != Severity.INFO or need.alert is not None


def attention(facts: Facts, alerts: Iterable[Told]) -> Attention:
    """What there is to tell, worst first."""
    told = [alert for alert in alerts if alert.fires]
    quiet = [_of_alert(alert) for alert in told if alert.silenced]
    silenced = {(*need.thing, _like_a_rule(need.what)) for need in quiet}
    needs = [*(_of_alert(alert) for alert in told if not alert.silenced), *_seen(facts)]
    heard = [
        need
        for need in needs
        if need.alert is not None or (*need.thing, _like_a_rule(need.what)) not in silenced
    ]
    merged = _workers_together(_once(heard))
    return Attention(sorted(merged, key=lambda need: need.place), len({need.thing for need in quiet}))


def _like_a_rule(what: str) -> str:
    """The kind of rule that tells of the same: a queue that is late has one, whatever makes it so."""
    return Kind.OLDEST.value if what in ("capacity", "growing") else what


# One thing is told once


def _once(needs: Iterable[Need]) -> list[Need]:
    by_thing: dict[tuple[str, str], list[Need]] = {}
    for need in needs:
        by_thing.setdefault(need.thing, []).append(need)
    return [_merged(found) for found in by_thing.values()]


def _merged(needs: Sequence[Need]) -> Need:
    """The worst of them, with what is known of the others: its own numbers, the first of their alerts."""
    first, *others = sorted(needs, key=_told_first)
    alert = next((need for need in [first, *others] if need.alert is not None), first)
    same = [need for need in needs if need.what == first.what]
    return replace(
        first,
        since=_earliest(same),
        # What is seen now is younger than what an alert wrote down.
        facts={name: value for need in same for name, value in need.facts.items()},
        alert=alert.alert,
        owner=alert.owner,
        more=len({need.what for need in needs}) - 1,
    )


def _told_first(need: Need) -> tuple[Any, ...]:
    rank = SEVERITIES.index(Severity(need.severity)), WHATS.index(need.what)
    return (*rank, need.since or 0.0, need.alert or 0, need.owner)


def _earliest(needs: Iterable[Need]) -> float | None:
    return min((need.since for need in needs if need.since is not None), default=None)


def _workers_together(needs: Sequence[Need]) -> list[Need]:
    """Workers that are gone are one row: they tend to go by hosts."""
    gone = sorted((need for need in needs if need.what == Kind.WORKER_DEAD), key=lambda need: need.place)
    others = [need for need in needs if need.what != Kind.WORKER_DEAD]
    return [*others, _one_of(gone)] if gone else others


def _one_of(gone: Sequence[Need]) -> Need:
    running = [need.facts.get("value") for need in gone]
    known = [value for value in running if isinstance(value, int)]
    return replace(
        gone[0],
        since=_earliest(gone),
        facts={
            **gone[0].facts,
            "workers": len(gone),
            "value": sum(known) if len(known) == len(running) else None,
        },
        owner=gone[0].owner if all(need.owner for need in gone) else "",
    )


# What alerts say


def _of_alert(alert: Told) -> Need:
    about, name = _thing(alert)
    return Need(
        about=about,
        name=name,
        what=_what(alert),
        severity=alert.severity,
        since=alert.since.timestamp(),
        facts=alert.evidence,
        alert=alert.id,
        owner=alert.owner,
    )


def _thing(alert: Told) -> tuple[str, str]:
    if alert.about == About.ERROR:
        return About.TASK.value, alert.task or alert.key
    return alert.about, alert.key


def _what(alert: Told) -> str:
    if alert.about == About.RECORD and alert.key in WHATS:
        return alert.key
    return alert.kind if alert.kind in WHATS else Kind.NEW_ERROR.value


# What the record shows by itself


def _seen(facts: Facts) -> Iterator[Need]:
    for queue in facts.queues:
        yield from _of_queue(queue)
    for worker in facts.dead:
        yield _of_worker(worker, facts.at)
    yield from _of_tasks(facts)
    yield from facts.others
    if facts.beat_silent_since is not None:
        silent = {"value": facts.at - facts.beat_silent_since}
        yield Need(About.BEAT, "beat", Kind.BEAT_SILENT, Severity.PAGE, facts.beat_silent_since, silent)
    if facts.last_gap is not None and facts.at - facts.last_gap < GAP_IS_NEWS_FOR:
        lost = {"value": facts.lost, "since": facts.at - facts.last_gap}
        yield Need(About.RECORD, "gap", "gap", Severity.INFO, facts.last_gap, lost)


def _of_queue(queue: Mapping[str, Any]) -> Iterator[Need]:
    name, state, oldest = queue["name"], queue["state"], queue["oldest"]
    facts = {key: queue[key] for key in ("depth", "busy", "slots", "drains")} | {"limit": queue["target"]}
    if state == "none" and (oldest is None or oldest >= NOT_A_RESTART):
        told = {**facts, "value": queue["depth"], "oldest": oldest}
        yield Need(About.QUEUE, name, Kind.NO_CONSUMER, Severity.PAGE, queue["waiting_since"], told)
    elif state == "late":
        what = queue["verdict"] if queue["verdict"] in WHATS else Kind.OLDEST
        told = {**facts, "value": oldest, "oldest": oldest}
        since = queue["waiting_since"] + queue["target"]
        yield Need(About.QUEUE, name, what, Severity.WARN, since, told)


def _of_worker(worker: Mapping[str, Any], at: float) -> Need:
    told = {"value": worker["busy"], "silent": at - worker["seen"]}
    return Need(About.WORKER, worker["name"], Kind.WORKER_DEAD, Severity.WARN, worker["seen"], told)


def _of_tasks(facts: Facts) -> Iterator[Need]:
    """Tasks that fail more than they did in the day before: by the measure that the built-in rule has."""
    usual = {task: flow - facts.lately.get(task, Flow()) for task, flow in facts.tasks.items()}
    for found in failure_rise(FailureRise(), _ends(facts.lately), _ends(usual)) or ():
        if found.holds and found.task is not None:
            share = found.evidence["value"]
            most = isinstance(share, float) and share > MOST_OF_IT
            severity = Severity.PAGE if most else Severity.WARN
            yield Need(About.TASK, found.task, Kind.FAILURE_RISE, severity, None, found.evidence)


def _ends(flows: Mapping[str, Flow]) -> EndsBy:
    return {Place(task, ""): Ends(flow.succeeded, flow.failed) for task, flow in flows.items()}
