"""What neither of them has: pure. What is not known has no sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from django.conf import settings

from jobs.liveness import WorkerState, heartbeat_state, seconds_since
from jobs.metrics import shown, totals
from jobs.metrics.counting import QUEUE, WAIT, WORKER
from jobs.metrics.families import COUNTER, GAUGE, HISTOGRAM, Family, Labels, Value
from jobs.metrics.look import Look
from jobs.metrics.queues import deepest
from jobs.models import QueueSample
from jobs.trust import detail_of

NOTHING: Labels = ()
# Those that say every few seconds that they are there; others beat at their own pace.
PROCESSES = ("monitor", "alerts", "broker", "beat")
STATES: tuple[WorkerState, ...] = ("online", "late", "dead")
# Totals: name -> (family, its label, help). LOST is 0 before anything was lost.
TOTALS = {
    totals.LOST: ("nightdesk_events_lost", "", "Events that producers numbered and that never came."),
    totals.GAPS: ("nightdesk_gaps", "reason", "Spans in which events are known to be missing."),
    totals.QUARANTINED: ("nightdesk_events_quarantined", "reason", "Events that could not be read."),
    totals.TICKS: ("nightdesk_ticks", "outcome", "Due times of schedules, by what became of them."),
}


def families(look: Look) -> list[Family]:
    """All of them."""
    return [*_of_record(look), *_of_totals(look), *_of_queues(look), _waits(look), *_of_workers(look)]


def _gauge(name: str, help: str, samples: Iterable[tuple[Labels, Value | None]]) -> Family:
    """A gauge without the samples that are not known."""
    family = Family(f"nightdesk_{name}", GAUGE, help)
    for labels, value in samples:
        if value is not None:
            family.add(labels, value)
    return family


def _one(name: str, help: str, value: Value | None) -> Family:
    return _gauge(name, help, [(NOTHING, value)])


def _of_record(look: Look) -> list[Family]:
    trust, outbox = look.trust, look.outbox
    beats = [(name, beat) for name, beat in trust.heartbeats.items() if name in PROCESSES]
    stream = detail_of(trust.heartbeats.get("monitor")).get("stream") or {}
    seen = trust.verdict(anything_seen=True).word != "blind"
    sets = Counter(key.axis for key in look.series)
    return [
        _one("record_trusted", "1 while the record can be believed, 0 while we are blind.", int(seen)),
        _one("stream_lag_seconds", "Age of the first event that is not recorded yet.", trust.reading.lag),
        _one("stream_entries", "Entries in the event stream.", _known(stream.get("length"))),
        _one("stream_entries_limit", "The most entries that the stream may hold.", _known(stream.get("cap"))),
        _one("last_event_age_seconds", "Since the last event.", _age(trust.reading.last_event, look.now)),
        _gauge(
            "process_up",
            "1 while a process that must be there says so.",
            [([("process", name)], int(heartbeat_state(beat, look.now) != "dead")) for name, beat in beats],
        ),
        _gauge(
            "process_silence_seconds",
            "Since the process last said that it is there.",
            [([("process", name)], seconds_since(beat.at, look.now)) for name, beat in beats],
        ),
        _one("broker_up", "1 if the broker answered the monitor lately.", _flag(trust.broker_ok)),
        _one("outbox_waiting", "Messages that are due and not with the broker yet.", outbox.waiting),
        _one(
            "outbox_oldest_age_seconds", "Since the first of them was due.", _age(outbox.since, look.now) or 0
        ),
        _gauge(
            "metrics_label_sets",
            "Label sets that are counted apart; what is new beyond the limit is `other`.",
            [([("by", axis)], sets[axis]) for axis in (QUEUE, WORKER)],
        ),
        _one("metrics_label_sets_limit", "METRICS_LABEL_SETS.", settings.METRICS_LABEL_SETS),
    ]


def _known(value: object) -> Value | None:
    return value if isinstance(value, int | float) else None


def _flag(value: bool | None) -> int | None:
    return None if value is None else int(value)


def _age(since: datetime | None, now: datetime) -> float | None:
    return None if since is None else seconds_since(since, now)


def _of_totals(look: Look) -> list[Family]:
    made = {name: Family(family, COUNTER, help) for name, (family, _, help) in TOTALS.items()}
    if not any(total.name == totals.LOST for total in look.totals):
        made[totals.LOST].add(NOTHING, 0)
    for total in look.totals:
        if total.name in made:
            label = TOTALS[total.name][1]
            count = total.count if shown.settled(total.born_at.timestamp(), look.now.timestamp()) else 0
            made[total.name].add([(label, total.label)] if label else NOTHING, count)
    return list(made.values())


def _of_queues(look: Look) -> list[Family]:
    queues = deepest(look.queues)
    targets = {name: policy.target for name, policy in settings.QUEUES.items()}
    return [
        _gauge(
            "queue_oldest_age_seconds",
            "How long the oldest message waits that could be taken; 0 where nothing does.",
            [([("queue", name)], _oldest(samples, look.now)) for name, samples in queues],
        ),
        _gauge(
            "queue_target_seconds",
            "The longest wait you will bear (QUEUES).",
            [([("queue", name)], target) for name, target in targets.items()],
        ),
        _gauge(
            "queue_paused",
            "1 while somebody holds the queue.",
            [([("queue", name)], int(name in look.pauses)) for name, _ in queues],
        ),
    ]


def _oldest(samples: Iterable[QueueSample], now: datetime) -> float | None:
    ages = [
        0.0 if sample.depth == 0 else _age(sample.oldest_at, now)
        for sample in samples
        if sample.depth is not None
    ]
    return max((age for age in ages if age is not None), default=None)


def _waits(look: Look) -> Family:
    family = Family("nightdesk_queue_wait_seconds", HISTOGRAM, "Seconds from publish, or eta, to start.")
    for key, tally in look.series.items():
        if key.axis == WAIT:
            observed = shown.observed(tally, tally.wait, look.now.timestamp())
            family.add_histogram([("queue", key.place)], shown.WAIT_LABELS, observed)
    return family


def _of_workers(look: Look) -> list[Family]:
    states = Counter(state for _, state in look.workers)
    return [
        _gauge(
            "workers",
            "Workers by how they stand; those that ended in good order are in none.",
            [([("state", state)], states[state]) for state in STATES],
        ),
        _gauge(
            "worker_up",
            "1 while the worker is there, 0 for a day after it died.",
            [([("worker", worker.name)], int(state != "dead")) for worker, state in look.workers],
        ),
        _gauge(
            "worker_slots",
            "Places in the worker's pool.",
            [([("worker", w.name)], w.slots) for w, state in look.workers if state != "dead"],
        ),
    ]
