"""A rule tried against the past: when it would have fired, by the same judgements and the same life."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.conf import settings

from jobs.alerts import judging
from jobs.alerts.facts.buckets import BY_MINUTE_UP_TO, success_facts
from jobs.alerts.findings import Evidence, Finding, Findings
from jobs.alerts.life import Life, Policy, advance
from jobs.alerts.looking import Asked
from jobs.alerts.past import (
    EndsThen,
    SketchesThen,
    TooMuch,
    ends_then,
    queues_then,
    sketches_then,
    usual_before,
)
from jobs.models import Rule
from jobs.models.alerts import Kind

OF_BUCKETS = frozenset({Kind.FAILURE_SHARE, Kind.FAILURE_RISE, Kind.NO_SUCCESS})
OF_SKETCHES = frozenset({Kind.SLOW})
OF_SAMPLES = frozenset({Kind.OLDEST, Kind.DEPTH})
# Of the other kinds the facts of earlier moments are not kept.
POSSIBLE = OF_BUCKETS | OF_SKETCHES | OF_SAMPLES
# So many looks at most; a longer time is looked at less often.
MOST_LOOKS = 1_500
MINUTE = timedelta(minutes=1)

Moment = tuple[datetime, Findings]


@dataclass(frozen=True)
class Span:
    """A time in which the rule would have fired; `ended` None: to the end of what was tried."""

    key: str
    began: datetime
    ended: datetime | None
    evidence: Evidence


@dataclass(frozen=True)
class Rehearsal:
    """What a rule would have found. `possible` is False where the past of its facts is not kept.

    `known_since` is from when on it is, `every` the time between two looks.
    """

    possible: bool
    spans: tuple[Span, ...] = ()
    known_since: datetime | None = None
    every: timedelta = MINUTE


def rehearse(rule: Rule, since: datetime, until: datetime, cluster_id: int = 1) -> Rehearsal:
    """Try a rule, saved or not, against the past; quiet hours and silences are left out.

    Raises kinds.Unreadable for parameters that can't be read, and past.TooMuch where there is too much
    to read: name a task or a queue, or try a shorter time.
    """
    asked = Asked.by(rule)
    if asked.kind not in POSSIBLE:
        return Rehearsal(False)
    window = _window_of(asked)
    if window > BY_MINUTE_UP_TO:
        raise TooMuch("a rule that looks back for more than 6 hours is too much to try on the past")
    kept = settings.RETENTION.samples if asked.kind in OF_SAMPLES else settings.RETENTION.minutes
    # The first look, too, needs a whole window of what is kept.
    begin = max(since, datetime.now(UTC) - kept + window)
    every = max(MINUTE, MINUTE * (max(timedelta(0), until - begin) // MINUTE // MOST_LOOKS + 1))
    policy = Policy(for_seconds=rule.for_seconds, resolve_seconds=rule.resolve_seconds)
    moments = _moments(asked, begin, until, every, window, cluster_id) if begin < until else ()
    return Rehearsal(True, tuple(spans(moments, policy)), begin, every)


def _window_of(asked: Asked) -> timedelta:
    """How far a look reaches back."""
    if asked.kind in OF_SAMPLES:
        return timedelta(0)
    seconds = asked.params.seconds if asked.kind == Kind.NO_SUCCESS else asked.params.window
    return timedelta(seconds=seconds)


def _moments(
    asked: Asked, begin: datetime, until: datetime, every: timedelta, window: timedelta, cluster_id: int
) -> Iterable[Moment]:
    if asked.kind in OF_SAMPLES:
        return _by_samples(asked, begin, until, cluster_id)
    if asked.kind in OF_SKETCHES:
        sketches = sketches_then(cluster_id, begin - window, until, asked.span, asked.params.measure)
        return _by_sketches(asked, sketches, _times(begin, until, every), window)
    ends = ends_then(cluster_id, begin - window, until, asked.span)
    return _by_buckets(asked, ends, _times(begin, until, every), window, cluster_id)


def _times(begin: datetime, until: datetime, every: timedelta) -> Iterator[datetime]:
    """Whole minutes, so that a window holds whole buckets."""
    at = begin.replace(second=0, microsecond=0) + MINUTE
    while at <= until:
        yield at
        at += every


def _by_buckets(
    asked: Asked, then: EndsThen, times: Iterable[datetime], window: timedelta, cluster_id: int
) -> Iterator[Moment]:
    usual = {}
    if asked.kind == Kind.FAILURE_RISE:
        usual = asked.among(usual_before(cluster_id, then.began + window, asked.params.days))
    for at in times:
        ends = then.within(at - window, at)
        if asked.kind == Kind.FAILURE_SHARE:
            yield at, judging.failure_share(asked.params, ends)
        elif asked.kind == Kind.FAILURE_RISE:
            yield at, judging.failure_rise(asked.params, ends, usual)
        else:
            yield at, judging.no_success(asked.params, success_facts(ends, {}), asked.named_tasks, at)


def _by_sketches(
    asked: Asked, then: SketchesThen, times: Iterable[datetime], window: timedelta
) -> Iterator[Moment]:
    return ((at, judging.slow(asked.params, then.within(at - window, at))) for at in times)


def _by_samples(asked: Asked, begin: datetime, until: datetime, cluster_id: int) -> Iterator[Moment]:
    judge = judging.oldest if asked.kind == Kind.OLDEST else judging.depth
    for at, queues in queues_then(cluster_id, begin, until, asked.span):
        yield at, judge(asked.params, queues)


# Pure from here on


@dataclass
class _Playing:
    """An alert of the past that has not ended."""

    life: Life
    evidence: Evidence = field(default_factory=dict)


def spans(moments: Iterable[Moment], policy: Policy) -> Iterator[Span]:
    """What lives these findings make, in the order in which they end."""
    playing: dict[str, _Playing] = {}
    for at, found in moments:
        seen = {finding.key: finding for finding in found or ()}
        for key in [*playing, *(key for key, each in seen.items() if each.holds and key not in playing)]:
            yield from _played(playing, key, seen.get(key), at, policy)
    for key, each in playing.items():
        if each.life.fired_at is not None:
            yield Span(key, each.life.fired_at, None, each.evidence)


def _played(
    playing: dict[str, _Playing], key: str, finding: Finding | None, at: datetime, policy: Policy
) -> Iterator[Span]:
    before = playing.pop(key, None)
    holds = finding.holds if finding is not None else False
    life = advance(before.life if before else None, holds, at, policy).life
    evidence: Mapping[str, float | int | str | None] = before.evidence if before else {}
    if life is None:
        return
    if life.state == "resolved" and life.fired_at is not None:
        yield Span(key, life.fired_at, life.clear_since, evidence)
    else:
        fires_now = life.fired_at == at and finding is not None
        playing[key] = _Playing(life, finding.evidence if fires_now and finding else evidence)
