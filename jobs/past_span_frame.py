"""What pages show of a span of the past, laid out by pure functions; None is not known."""

from __future__ import annotations

from typing import Any

from jobs import headlines
from jobs.headlines import HOUR
from jobs.past_span import Happened, PastSpan

Frame = dict[str, Any]


def about(span: PastSpan) -> Frame:
    """The span; `cut`: it begins before the record does. `waits`: whether waits are told of spans so long."""
    return {
        "since": span.since,
        "until": span.until,
        "step": span.step,
        "seconds": span.seconds,
        "widened": span.widened,
        "began": span.began,
        "cut": span.began > span.since,
        "waits": span.step == headlines.MINUTE,
    }


def figures(happened: Happened) -> Frame:
    """Those of the overview that are counted: of the whole span, as far as the record reaches."""
    span, flow, whole = happened.span, happened.flow, happened.total
    known = span.until - max(span.since, span.began)
    ages = [age for seen in happened.oldest.values() for age in seen.values()]
    return {
        "rate": flow.ended * HOUR / known if known > 0 else None,
        "ended": flow.ended,
        "success": headlines.share(flow),
        "succeeded": flow.succeeded,
        "failed": flow.failed,
        "p50": whole and whole.quantile(0.5),
        "p95": whole and whole.quantile(0.95),
        "counted": whole is not None,
        "oldest": max(ages, default=None),
    }


def chart(happened: Happened, queue: str | None = None) -> Frame:
    """As the chart of the overview has it, in steps of the span; of one queue, or of all."""
    steps, step = happened.span.steps, happened.span.step
    flows = [happened.flow_of(number, queue) for number in steps]
    return {
        "step": step,
        "start": steps.start * step,
        "finished": [flow and flow.ended for flow in flows],
        "failed": [flow and flow.failed for flow in flows],
        "oldest": [happened.oldest_of(number, queue) for number in steps],
    }
