"""The rules: from facts to findings. Pure; each is given only what the rule's patterns cover."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from math import sqrt

from jobs.alerts import kinds
from jobs.alerts.findings import Evidence, Finding, Findings, of_queue, of_task, only
from jobs.alerts.shapes import (
    DeadFacts,
    Ends,
    EndsBy,
    ErrorFacts,
    QueueFacts,
    SketchesBy,
    StreamFacts,
    SuccessFacts,
    TickFacts,
    WorkerFacts,
    grouped,
    queue_of_each,
)
from jobs.models.alerts import About
from jobs.rollups import UNKNOWN, Sketch

# Of each task its only queue, if it has just one.
Queues = Mapping[str, str | None]

# How sure to be that a share has risen: 99.5 %.
SURE = 2.576
# Fewer failures than this may be chance, however rare they are.
FEWEST = 3
# Fewer jobs than this say nothing of what is usual.
USUAL_OF = 100


def failure_share(params: kinds.FailureShare, ends: EndsBy) -> Findings:
    """`value` is the share of failures."""
    queues = queue_of_each(ends)
    return [
        _counted(params.by, name, each, each.share is not None and each.share > params.more_than, queues, {})
        for name, each in grouped(ends, params.by).items()
        if each.all >= params.at_least and name != UNKNOWN
    ]


def failure_rise(params: kinds.FailureRise, ends: EndsBy, before: EndsBy) -> Findings:
    """`usual` is the share of the days before; what has none is not judged."""
    usual = {name: each for name, each in grouped(before, params.by).items() if each.all >= USUAL_OF}
    queues = queue_of_each(ends)
    return [
        _risen(params, name, each, usual[name], queues)
        for name, each in grouped(ends, params.by).items()
        if name in usual and each.all >= params.at_least and name != UNKNOWN
    ]


def _risen(params: kinds.FailureRise, name: str, now: Ends, usual: Ends, queues: Queues) -> Finding:
    # As if one more had failed: where none did, the share is not surely 0.
    limit = params.times * (usual.failed + 1) / (usual.all + 2)
    matters = now.failed >= FEWEST and (now.share or 0.0) > params.more_than
    holds = matters and surely_at_least(now) > limit
    return _counted(params.by, name, now, holds, queues, {"usual": usual.share, "limit": limit})


def surely_at_least(ends: Ends) -> float:
    """The lower end of Wilson's interval around the share of failures."""
    if ends.all == 0:
        return 0.0
    share, n, z = ends.failed / ends.all, ends.all, SURE
    middle, spread = share + z * z / (2 * n), z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, (middle - spread) / (1 + z * z / n))


def _counted(by: str, name: str, ends: Ends, holds: bool, queues: Queues, more: Evidence) -> Finding:
    evidence = {"value": ends.share, "failed": ends.failed, "ended": ends.all, **more}
    return _about(by, name, holds, evidence, queues)


def _about(by: str, name: str, holds: bool | None, evidence: Evidence, queues: Queues) -> Finding:
    if by == "queue":
        return of_queue(name, holds, evidence)
    return of_task(name, holds, evidence, queues[name])


def slow(params: kinds.Slow, sketches: SketchesBy) -> Findings:
    """`value` is the percentile, in seconds."""
    groups: dict[str, Sketch] = {}
    for place, sketch in sketches.items():
        groups.setdefault(getattr(place, params.by), Sketch()).merge(sketch)
    queues = queue_of_each(sketches)
    return [
        _slow(params, name, sketch, queues)
        for name, sketch in groups.items()
        if sketch.count >= params.at_least and name != UNKNOWN
    ]


def _slow(params: kinds.Slow, name: str, sketch: Sketch, queues: Queues) -> Finding:
    value = sketch.quantile(params.percentile)
    evidence = {"value": value, "limit": params.more_than, "jobs": sketch.count}
    return _about(params.by, name, None if value is None else value > params.more_than, evidence, queues)


def oldest(params: kinds.Oldest, queues: Iterable[QueueFacts]) -> Findings:
    """`value` is the age of the oldest waiting job."""
    return [_oldest(params, queue) for queue in queues if not queue.paused]


def _oldest(params: kinds.Oldest, queue: QueueFacts) -> Finding:
    limit = params.seconds if queue.target is None else params.times * queue.target
    age = 0.0 if queue.depth == 0 else queue.oldest
    evidence = {"value": age, "limit": limit, "depth": queue.depth}
    return of_queue(queue.name, None if age is None else age > limit, evidence)


def depth(params: kinds.Depth, queues: Iterable[QueueFacts]) -> Findings:
    """`value` is the number of waiting jobs."""
    return [
        of_queue(
            queue.name,
            None if queue.depth is None else queue.depth > params.more_than,
            {"value": queue.depth, "limit": params.more_than, "oldest": queue.oldest},
        )
        for queue in queues
    ]


def no_consumer(params: kinds.NoConsumer, queues: Iterable[QueueFacts]) -> Findings:
    """`value` is the number of waiting jobs."""
    return [
        of_queue(
            queue.name,
            None if queue.depth is None else queue.depth > params.more_than and queue.readers == 0,
            {"value": queue.depth, "oldest": queue.oldest, "readers": queue.readers},
        )
        for queue in queues
        if not queue.paused
    ]


def stalled(params: kinds.Stalled, queues: Iterable[QueueFacts]) -> Findings:
    """`value` is for how long jobs have waited without one being taken."""
    return [
        of_queue(
            queue.name,
            _is_stalled(params, queue),
            {
                "value": queue.waited,
                "depth": queue.depth,
                "readers": queue.readers,
                "free": queue.free,
                "taken": queue.taken,
            },
        )
        for queue in queues
        if not queue.paused
    ]


def _is_stalled(params: kinds.Stalled, queue: QueueFacts) -> bool | None:
    if queue.depth is None or (queue.readers != 0 and queue.free is None):
        return None
    served = queue.readers != 0 and bool(queue.free)
    return served and queue.depth > 0 and queue.waited >= params.seconds and queue.taken == 0


def worker_dead(params: kinds.WorkerDead, workers: Iterable[WorkerFacts]) -> Findings:
    """`value` is the number of its running jobs."""
    return [
        Finding(
            About.WORKER,
            worker.name,
            worker.running >= params.at_least,
            {"value": worker.running, "silent": worker.silent},
        )
        for worker in workers
    ]


def missed_tick(params: kinds.MissedTick, ticks: Iterable[TickFacts]) -> Findings:
    """`value` is how late the oldest due time of each schedule is; `missed`, how many of them are known."""
    by_schedule: dict[str, list[TickFacts]] = {}
    for tick in ticks:
        if tick.late > params.grace:
            by_schedule.setdefault(tick.schedule, []).append(tick)
    return [_missed(name, missed) for name, missed in by_schedule.items()]


def _missed(name: str, missed: list[TickFacts]) -> Finding:
    first = min(missed, key=lambda tick: tick.due)
    evidence = {"value": first.late, "due": first.due.timestamp(), "missed": len(missed)}
    return Finding(About.SCHEDULE, name, True, evidence, task=first.task, queue=first.queue)


def beat_silent(params: kinds.BeatSilent, silent: float | None) -> Findings:
    """`value` is for how long; None if no Beat has ever been heard of."""
    holds = None if silent is None else silent > params.seconds
    return [Finding(About.BEAT, "beat", holds, {"value": silent, "limit": params.seconds})]


def no_success(
    params: kinds.NoSuccess, tasks: Iterable[SuccessFacts], expected: Iterable[str], now: datetime
) -> Findings:
    """`value` is the time since the last success; `expected` are the tasks that the rule names in full."""
    told = {task.task: task for task in tasks}
    known = {**{name: SuccessFacts(name, None, Ends(), None) for name in expected}, **told}
    return [_no_success(params, each, now) for each in known.values() if each.task != UNKNOWN]


def _no_success(params: kinds.NoSuccess, task: SuccessFacts, now: datetime) -> Finding:
    since = None if task.last is None else (now - task.last).total_seconds()
    holds = task.ends.succeeded == 0 and task.ends.all >= params.at_least
    evidence = {"value": since, "limit": params.seconds, "failed": task.ends.failed}
    return of_task(task.task, holds, evidence, task.queue)


def new_error(
    params: kinds.NewError, errors: Iterable[ErrorFacts], since: datetime, now: datetime
) -> Findings:
    """`value` is for how long it is known; one from before `since`, when the rule was made, is not new."""
    return [
        Finding(
            About.ERROR,
            f"{error.task}: {error.exception}"[:255],
            _is_new(params, error, since, now),
            {
                "value": (now - error.first_at).total_seconds(),
                "first": error.first_at.timestamp(),
                "last": error.last_at.timestamp(),
                "returned": None if error.returned_at is None else error.returned_at.timestamp(),
                "exception": error.exception,
            },
            task=error.task,
            queue=error.queue,
        )
        for error in errors
    ]


def _is_new(params: kinds.NewError, error: ErrorFacts, since: datetime, now: datetime) -> bool:
    appeared = error.returned_at or error.first_at
    return appeared >= since and (now - appeared).total_seconds() <= params.lasts


def dead_letters(params: kinds.DeadLetters, dead: Iterable[DeadFacts]) -> Findings:
    """`value` is their number, task by task; those of no known task are one finding, shown to all."""
    counts, queues = Counter[str | None](), dict[str | None, set[str | None]]()
    for each in dead:
        counts[each.task] += each.count
        queues.setdefault(each.task, set()).add(each.queue)
    return [_dead(task, count, queues[task], count > params.more_than) for task, count in counts.items()]


def _dead(task: str | None, count: int, queues: set[str | None], holds: bool) -> Finding:
    if task is None:
        return Finding(About.RECORD, "dead letters", holds, {"value": count})
    return of_task(task, holds, {"value": count}, only(name for name in queues if name is not None))


def stream(params: kinds.Stream, facts: StreamFacts, now: datetime) -> Findings:
    """Three things of the record: `lag` (`value`: seconds), `gap` (`value`: lost events), `broker`."""
    since_gap = None if facts.gap_ended is None else (now - facts.gap_ended).total_seconds()
    return [
        _of_record(
            "lag", None if facts.lag is None else facts.lag > params.lag,
            {"value": facts.lag, "limit": params.lag},
        ),
        _of_record(
            "gap", since_gap is not None and since_gap <= params.gap,
            {"value": facts.lost, "since": since_gap},
        ),
        _of_record("broker", None if facts.broker_ok is None else not facts.broker_ok, {}),
    ]  # fmt: skip


def _of_record(key: str, holds: bool | None, evidence: Mapping[str, float | int | None]) -> Finding:
    return Finding(About.RECORD, key, holds, evidence)
