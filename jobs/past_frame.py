"""What pages show of an earlier minute: figures, queues and workers, laid out by pure functions.

As in every frame, None is not known. Pauses have no history yet, so a queue is never told as paused then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.conf import settings

from jobs import headlines, history, past_span_frame
from jobs.headlines import MINUTE, NOTHING, Flow
from jobs.history import QueueMinute
from jobs.liveness import (
    WorkerState,
    busy_by_queue,
    queue_state,
    seconds_since,
    slots_by_queue,
)
from jobs.models import Worker
from jobs.past import Then
from jobs.queue_rows import age
from jobs.queue_verdicts import QUEUE_VERDICTS, Pace, verdict
from jobs.rollups import UNKNOWN
from jobs.worker_facts import Setup, setup_of
from jobs.worker_frame import worker_row

Frame = dict[str, Any]


def overview_then(then: Then) -> Frame:
    """The four figures and the chart, of the span or of the hour before; queues and workers at its end."""
    counted = past_span_frame.figures(then.happened) if then.happened else _counted(then)
    return {
        **_about(then),
        "figures": {**counted, **_capacity(then)},
        "chart": _chart(then),
        "queues": queues_then(then)["queues"],
        "workers": workers_then(then)["workers"],
    }


def queues_then(then: Then) -> Frame:
    """All queues that were known then, worst first."""
    samples = then.latest
    counted = then.happened.queues if then.happened else ()
    names = {*settings.QUEUES, *samples, *then.traffic.queues, *counted} - {UNKNOWN}
    rows = [_queue(name, then, samples.get(name)) for name in names if then.scope.covers_queue(name)]
    rows.sort(key=lambda row: (QUEUE_VERDICTS.index(row["verdict"]), -(row["oldest"] or 0), row["name"]))
    return {**_about(then), "queues": rows}


def queue_then(name: str, then: Then) -> Frame | None:
    """One queue with the hour before; None if nobody had heard of it."""
    row = next((row for row in queues_then(then)["queues"] if row["name"] == name), None)
    return row and {**_about(then), **row, "queues": [row], "chart": _chart_of(name, then)}


def workers_then(then: Then) -> Frame:
    """The workers that should have been there, worst first."""
    return {**_about(then), "workers": [_worker(worker, state, then) for worker, state in then.workers]}


def _about(then: Then) -> Frame:
    """`at` is the minute; `looked`: whether the monitor looked at workers then, and what it saw is kept."""
    began = then.traffic.began
    minute = int(then.at // MINUTE) * MINUTE
    span = then.span and past_span_frame.about(then.span)
    return {"at": minute, "began": began, "looked": then.capacity is not None, "span": span}


def _counted(then: Then) -> Frame:
    rate = headlines.rate_now(then.traffic.minutes, then.at, then.traffic.first_minute(then.at))
    return {"rate": rate, **_success(then), **_latency(then)}


def _success(then: Then) -> Frame:
    """Of the 24 hours before; not known where the minutes in which those began are forgotten."""
    if not then.day_is_whole:
        return {"success": None, "succeeded": None, "failed": None}
    day = headlines.last_day(then.traffic.hours, then.traffic.before_day, then.at)
    return {"success": headlines.share(day), "succeeded": day.succeeded, "failed": day.failed}


def _latency(then: Then) -> Frame:
    whole = history.merged(then.latency.values())
    return {"p50": whole.quantile(0.5), "p95": whole.quantile(0.95), "oldest": _oldest(then.latest.values())}


def _capacity(then: Then) -> Frame:
    sample = then.capacity
    return {
        "online": sample.online if sample else None,
        "known": sample.known if sample else None,
        "busy": sample.busy if sample else None,
        "slots": sample.slots if sample else None,
    }


def _chart(then: Then) -> Frame:
    if then.happened:
        return past_span_frame.chart(then.happened)
    flows = [_flow(then.traffic.minutes, then, minute) for minute in history.window(then.at)]
    oldest = [_oldest(then.samples.get(minute, {}).values()) for minute in history.window(then.at)]
    return _drawn(then, flows, oldest)


def _chart_of(name: str, then: Then) -> Frame:
    if then.happened:
        return past_span_frame.chart(then.happened, name)
    minutes = history.window(then.at)
    flows = [_flow(then.traffic.queues.get(name, {}), then, minute) for minute in minutes]
    samples = [then.samples.get(minute, {}).get(name) for minute in minutes]
    return _drawn(then, flows, [sample.oldest if sample else None for sample in samples])


def _drawn(then: Then, flows: list[Flow | None], oldest: list[float | None]) -> Frame:
    """As the chart of the overview has it."""
    return {
        "step": MINUTE,
        "start": history.window(then.at).start * MINUTE,
        "finished": [flow and flow.ended for flow in flows],
        "failed": [flow and flow.failed for flow in flows],
        "oldest": oldest,
    }


def _flow(flows: Mapping[int, Flow], then: Then, minute: int) -> Flow | None:
    """What ended in a minute; None before the record began."""
    began = then.traffic.first_minute(then.at)
    return flows.get(minute, NOTHING) if began is not None and minute >= began else None


def _oldest(samples: Iterable[QueueMinute]) -> float | None:
    return max((sample.oldest for sample in samples if sample.oldest is not None), default=None)


def _queue(name: str, then: Then, sample: QueueMinute | None) -> Frame:
    policy = settings.QUEUES.get(name)
    target = policy.target if policy else None
    flow = history.flow_of_last(then.traffic.queues.get(name, {}), then.at, headlines.RATE_MINUTES)
    covered = max(1.0, headlines.covered_seconds(then.at, then.traffic.first_minute(then.at)))
    busy, slots, served = _served(name, then)
    pace = Pace(
        sample.depth if sample else None,
        (flow.published + flow.retried) / covered,
        flow.started / covered,
        busy,
        slots,
    )
    state = queue_state(
        depth=pace.depth,
        oldest=age(sample),
        target=target,
        served=served,
        moving=bool(flow.published or flow.started or flow.ended),
    )
    return {
        "name": name,
        "state": state,
        "verdict": verdict(state, pace),
        "depth": pace.depth,
        "oldest": age(sample),
        "target": target,
        "in": pace.incoming if then.minutes_kept else None,
        "out": pace.outgoing if then.minutes_kept else None,
        "busy": busy,
        "slots": slots,
        "trend": _depths(name, then),
    }


def _served(name: str, then: Then) -> tuple[int | None, int | None, bool]:
    """Busy slots, slots, and whether somebody read it: that nobody did is only said where all is known."""
    online = [worker for worker, state in then.workers if state == "online"]
    if any(worker.queues is None for worker in online):
        return None, None, True
    busy, slots = busy_by_queue(online), slots_by_queue(online)
    return busy.get(name, 0), slots.get(name, 0), name in slots or then.capacity is None


def _depths(name: str, then: Then) -> list[int | None]:
    """How many waited in each two minutes of the hour before."""
    samples = [then.samples.get(minute, {}).get(name) for minute in history.window(then.at)]
    return [_last_depth(samples[place : place + 2]) for place in range(0, len(samples), 2)]


def _last_depth(pair: list[QueueMinute | None]) -> int | None:
    known = [sample.depth for sample in pair if sample is not None and sample.depth is not None]
    return known[-1] if known else None


def _worker(worker: Worker, state: WorkerState, then: Then) -> Frame:
    """A row as the live list has it; `silent` and `up` are seconds at that moment."""
    setup = setup_of(worker.setup) or Setup()
    return {
        **worker_row(worker, state, then.scope),
        "load": worker.load,
        "pool": setup.pool,
        "celery": setup.celery,
        "silent": None if state == "online" else seconds_since(worker.seen_at, then.now),
        "up": None if worker.online_at is None else seconds_since(worker.online_at, then.now),
    }
