"""How each queue stands, as rows for the overview and the pages of queues. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import orjson
from django.conf import settings

from jobs import headlines, history
from jobs.history import QueueMinute
from jobs.job_frame import epoch
from jobs.liveness import busy_by_queue, queue_state, seconds_since, slots_by_queue
from jobs.models import Pause
from jobs.queue_verdicts import QUEUE_VERDICTS, Pace, drain, drains_in, verdict
from jobs.rollups import UNKNOWN
from jobs.seen import Seen

T = TypeVar("T")


def queue_rows(seen: Seen) -> list[dict[str, Any]]:
    """The queues of docs/frames.md, without their trends, worst first."""
    samples = seen.latest
    slots, busy = slots_by_queue(seen.online), busy_by_queue(seen.online)
    names = {*settings.QUEUES, *samples, *seen.traffic.queues, *slots, *seen.pauses} - {UNKNOWN}
    anywhere = any(worker.queues is None for worker in seen.online)
    queues = [
        _row(
            name,
            seen,
            samples.get(name),
            (busy.get(name, 0), slots.get(name, 0)),
            served=name in slots or anywhere,
        )
        for name in names
        if seen.scope.covers_queue(name)
    ]
    return sorted(
        queues,
        key=lambda queue: (QUEUE_VERDICTS.index(queue["verdict"]), -(queue["oldest"] or 0), queue["name"]),
    )


def _row(
    name: str,
    seen: Seen,
    sample: QueueMinute | None,
    capacity: tuple[int | None, int | None],
    *,
    served: bool,
) -> dict[str, Any]:
    busy, slots = capacity
    policy = settings.QUEUES.get(name)
    target = policy.target if policy else None
    flow = history.flow_of_last(seen.traffic.queues.get(name, {}), seen.at, headlines.RATE_MINUTES)
    covered = max(1.0, headlines.covered_seconds(seen.at, seen.traffic.first_minute(seen.at)))
    depth, oldest = sample.depth if sample else None, age(sample)
    moving = bool(flow.published or flow.started or flow.ended)
    pause = pause_row(seen.pauses.get(name))
    state = queue_state(
        depth=depth,
        oldest=oldest,
        target=target,
        served=served,
        moving=moving,
        paused=pause is not None and not pause["resuming"],
    )
    pace = Pace(depth, (flow.published + flow.retried) / covered, flow.started / covered, busy, slots)
    # What waits is told of the whole queue, what moves only of the tasks that the scope shows.
    whole = seen.scope.within(None, name).spans is None
    return {
        "name": name,
        "state": state,
        "verdict": verdict(state, pace) if whole else state,
        "depth": depth,
        "oldest": oldest,
        "waiting_since": epoch(sample.oldest_at) if sample and oldest is not None else None,
        "target": target,
        "in": pace.incoming,
        "out": pace.outgoing,
        "drain": drain(pace) if whole else "unknown",
        "drains": drains_in(pace) if whole else None,
        "busy": busy,
        "slots": slots,
        "paused": pause,
    }


def pause_row(pause: Pause | None) -> dict[str, Any] | None:
    """Who has paused a queue, why and since when, and how far that has taken effect.

    `held` of `of` workers have stopped reading it; both are None until the
    monitor has looked. `resuming`: the pause is over, and workers are being told.
    """
    if pause is None:
        return None
    reading = None if pause.reading is None else set(orjson.loads(pause.reading))
    there = {name for name, is_there in dict(orjson.loads(pause.held)).items() if is_there}
    return {
        "who": pause.who,
        "reason": pause.reason,
        "since": pause.since.timestamp(),
        "until": epoch(pause.until),
        "held": None if reading is None else len(there - reading),
        "of": None if reading is None else len(there | reading),
        "resuming": pause.resumed_at is not None,
    }


def age(sample: QueueMinute | None) -> float | None:
    """How long the oldest has waited, as it was when sampled: what waited then may have started since."""
    if sample is None or not sample.depth or sample.oldest_at is None:
        return None
    return seconds_since(sample.oldest_at, sample.at)


def depths(seen: Seen, queue: str) -> list[int | None]:
    """How many waited in each two minutes of the last hour."""
    return by_two_minutes(seen, lambda pair: last_known(_depth(seen, minute, queue) for minute in pair))


def _depth(seen: Seen, minute: int, queue: str) -> int | None:
    sample = seen.samples.get(minute, {}).get(queue)
    return sample.depth if sample else None


def by_two_minutes(seen: Seen, of: Callable[[Sequence[int]], T]) -> list[T]:
    """What `of` says of each two minutes of the last hour."""
    minutes = history.window(seen.at)
    return [of(minutes[i : i + 2]) for i in range(0, len(minutes), 2)]


def last_known(values: Iterable[T | None]) -> T | None:
    """The last of them that is not None."""
    return next((value for value in reversed(list(values)) if value is not None), None)
