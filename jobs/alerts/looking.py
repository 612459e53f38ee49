"""Look at the facts for one rule: which it needs, what its patterns cover of them, what its kind finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from jobs.access import Span, patterns
from jobs.alerts import judging, kinds
from jobs.alerts.facts.buckets import success_facts
from jobs.alerts.facts.look import Facts
from jobs.alerts.findings import Findings
from jobs.alerts.shapes import Place, QueueFacts, WorkerFacts
from jobs.models import Rule
from jobs.models.alerts import Kind
from jobs.store.patterns import ANY

T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """A rule, read: what its kind needs, what it covers, and when it was made."""

    kind: str
    params: Any
    span: Span
    made: datetime

    @classmethod
    def by(cls, rule: Rule) -> Asked:
        """Raises kinds.Unreadable."""
        span = Span(patterns(rule.queues), patterns(rule.tasks))
        return cls(rule.kind, kinds.read(rule.kind, rule.params), span, rule.created_at)

    def among(self, places: Mapping[Place, T]) -> dict[Place, T]:
        """Those that it covers."""
        return {place: each for place, each in places.items() if self.span.covers(place.task, place.queue)}

    def of_queues(self, queues: list[QueueFacts]) -> list[QueueFacts]:
        return [queue for queue in queues if self.span.covers_queue(queue.name)]

    def reads(self, worker: WorkerFacts) -> bool:
        """Whether it covers a queue that this worker read, as far as that is known."""
        return not worker.queues or any(self.span.covers_queue(queue) for queue in worker.queues)

    @property
    def named_tasks(self) -> list[str]:
        """The tasks that it names in full."""
        return [task for task in self.span.tasks if ANY not in task]


def findings(asked: Asked, facts: Facts) -> Findings:
    """What a rule finds now, the worst first; None if the facts tell of another time."""
    if asked.kind not in NEVER_BLIND and facts.blind:
        return None
    found = LOOKS[asked.kind](asked, facts)
    return None if found is None else sorted(found, key=lambda finding: finding.worst_first)


def _seconds(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


def _failure_share(asked: Asked, facts: Facts) -> Findings:
    return judging.failure_share(asked.params, asked.among(facts.ends(_seconds(asked.params.window))))


def _failure_rise(asked: Asked, facts: Facts) -> Findings:
    ends = asked.among(facts.ends(_seconds(asked.params.window)))
    return judging.failure_rise(asked.params, ends, asked.among(facts.usual(asked.params.days)))


def _slow(asked: Asked, facts: Facts) -> Findings:
    sketches = facts.sketches(_seconds(asked.params.window), asked.params.measure)
    return judging.slow(asked.params, asked.among(sketches))


def _oldest(asked: Asked, facts: Facts) -> Findings:
    return judging.oldest(asked.params, asked.of_queues(facts.queues()))


def _depth(asked: Asked, facts: Facts) -> Findings:
    return judging.depth(asked.params, asked.of_queues(facts.queues()))


def _no_consumer(asked: Asked, facts: Facts) -> Findings:
    return judging.no_consumer(asked.params, asked.of_queues(facts.queues()))


def _stalled(asked: Asked, facts: Facts) -> Findings:
    return judging.stalled(asked.params, asked.of_queues(facts.queues(_seconds(asked.params.seconds))))


def _worker_dead(asked: Asked, facts: Facts) -> Findings:
    dead = [worker for worker in facts.dead_workers if asked.reads(worker)]
    return judging.worker_dead(asked.params, dead)


def _missed_tick(asked: Asked, facts: Facts) -> Findings:
    ticks = [tick for tick in facts.overdue if asked.span.covers(tick.task, tick.queue)]
    return judging.missed_tick(asked.params, ticks)


def _beat_silent(asked: Asked, facts: Facts) -> Findings:
    return judging.beat_silent(asked.params, facts.beat_silence)


def _no_success(asked: Asked, facts: Facts) -> Findings:
    ends = asked.among(facts.ends(_seconds(asked.params.seconds)))
    without = {task.task for task in success_facts(ends, {}) if task.ends.succeeded == 0}
    last = facts.last_success(without | set(asked.named_tasks))
    return judging.no_success(asked.params, success_facts(ends, last), asked.named_tasks, facts.now)


def _new_error(asked: Asked, facts: Facts) -> Findings:
    since = facts.now - _seconds(asked.params.lasts)
    errors = [error for error in facts.errors(since) if asked.span.covers(error.task, error.queue)]
    return judging.new_error(asked.params, errors, asked.made, facts.now)


def _dead_letters(asked: Asked, facts: Facts) -> Findings:
    dead = [each for each in facts.dead_letters if asked.span.covers(each.task, each.queue)]
    return judging.dead_letters(asked.params, dead)


def _stream(asked: Asked, facts: Facts) -> Findings:
    return judging.stream(asked.params, facts.stream(_seconds(asked.params.gap)), facts.now)


LOOKS: Mapping[str, Callable[[Asked, Facts], Findings]] = {
    Kind.FAILURE_SHARE: _failure_share,
    Kind.FAILURE_RISE: _failure_rise,
    Kind.SLOW: _slow,
    Kind.OLDEST: _oldest,
    Kind.DEPTH: _depth,
    Kind.NO_CONSUMER: _no_consumer,
    Kind.STALLED: _stalled,
    Kind.WORKER_DEAD: _worker_dead,
    Kind.MISSED_TICK: _missed_tick,
    Kind.BEAT_SILENT: _beat_silent,
    Kind.NO_SUCCESS: _no_success,
    Kind.NEW_ERROR: _new_error,
    Kind.DEAD_LETTERS: _dead_letters,
    Kind.STREAM: _stream,
}
# What these look at is there although the record is behind; the last one tells just that.
NEVER_BLIND = frozenset({Kind.MISSED_TICK, Kind.BEAT_SILENT, Kind.DEAD_LETTERS, Kind.STREAM})
