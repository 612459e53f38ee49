"""What must be known of a job to one who was told some of its life (`tests.lives`).

Not made like `jobs.lifecycle`, which knows no order: here events come in the
order in which they happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.lives import Key, Told

# Of one attempt's events: an outcome stands, whatever becomes of the message.
OUTCOMES = ("succeeded", "failed", "retrying", "revoked")
RETURNS = ("rejected", "queued")
ENDED = ("succeeded", "failed", "revoked", "rejected")


@dataclass
class Known:
    """What is to be known of a job; of each attempt, what its row shows."""

    state: str
    ended_at: float | None
    total: float | None
    attempts: dict[Key, dict[str, Any]]
    facts: dict[str, Any]


def truth(told: Iterable[Told]) -> Known:
    """What must be known to one who was told this much, whatever the order."""
    events = sorted(told, key=lambda one: one.at)
    sent = [one.raw for one in events if one.raw["type"] in ("task-sent", "task-received")]
    attempts = {
        key: _attempt([one for one in events if one.key == key])
        for key in sorted({one.key for one in events if one.key is not None})
    }
    waits_for = max((raw["retries"] for raw in sent), default=0)
    facts = _facts(events, sent)
    latest = deciding(attempts)
    if latest is None or max(attempts)[0] < waits_for:
        waiting = "retrying" if waits_for else "queued" if facts["eta"] is None else "scheduled"
        return Known(waiting, None, None, attempts, facts)
    state, ended_at = attempts[latest]["state"], attempts[latest]["ended_at"]
    ended_at = ended_at if state in ENDED else None
    return Known(
        state, ended_at, _since_ready(ended_at, facts["published_at"], facts["eta"]), attempts, facts
    )


def deciding(attempts: Mapping[Key, Mapping[str, Any]]) -> Key | None:
    """The latest of those that are no duplicates of another."""
    return max((key for key, attempt in attempts.items() if attempt["state"] != "duplicate"), default=None)


def _since_ready(at: float | None, published: float | None, eta: float | None) -> float | None:
    if at is None or published is None:
        return None
    return max(0.0, at - max(published, eta or 0.0))


def _facts(events: Sequence[Told], sent: Sequence[dict[str, Any]]) -> dict[str, Any]:
    carriers = [raw for raw in sent if "args" in raw]
    carried = max(carriers, key=lambda raw: raw["retries"], default={})
    reports = [one for one in events if one.raw["type"] == "job-progress"]
    successes = [one for one in events if one.state == "succeeded"]
    best = max((one.key for one in successes if one.key), default=None)
    return {
        **{ours: _first(sent, theirs) for ours, theirs in FACTS.items()},
        # A retry may go elsewhere: where the job was published last is where it is.
        **{
            name: _first(sorted(sent, key=lambda raw: -raw["retries"]), name)
            for name in ("queue", "priority")
        },
        "published_at": _first_published(sent),
        "eta": _time(_first([raw for raw in sent if raw["retries"] == 0], "eta")),
        **{name: carried.get(name) for name in ("args", "kwargs", "body", "withheld")},
        "result": next((one.raw["result"] for one in successes if one.key == best), None),
        "progress": (reports[-1].raw["state"], reports[-1].raw["meta"], reports[-1].at) if reports else None,
    }


FACTS = {
    "task": "name", "release": "release", "root_id": "root_id", "parent_id": "parent_id",
}  # fmt: skip


def _first(sent: Sequence[dict[str, Any]], name: str) -> Any:
    return next((raw[name] for raw in sent if raw.get(name) is not None), None)


def _first_published(sent: Sequence[dict[str, Any]]) -> float | None:
    return next((raw["first_published"] for raw in sent if raw.get("first_published")), None)


def _time(moment: str | None) -> float | None:
    """Seconds since the epoch; without a zone it is UTC."""
    if moment is None:
        return None
    read = datetime.fromisoformat(moment)
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


def _attempt(events: Sequence[Told]) -> dict[str, Any]:
    """What one attempt's events tell, in the order in which they happened."""
    received = next((one for one in events if one.state == "received"), None)
    started = next((one.at for one in events if one.state == "running"), None)
    outcomes = [one for one in events if one.state in OUTCOMES]
    returns = [one for one in events if one.state in RETURNS]
    # A success or a failure may follow what is told of the message, and is told once more at times.
    end = next((one for one in events if one.state == "duplicate"), None)
    end = end or (outcomes[0] if outcomes else returns[0] if returns else None)
    eta = _time(received.raw["eta"]) if received else None
    return {
        "state": end.state if end else _open(received, started, eta),
        "worker": events[0].raw["hostname"],
        "received_at": received.at if received else None,
        "published_at": received.raw.get("published") if received else None,
        "eta": eta,
        "started_at": started,
        "wait": _since_ready(started, received.raw.get("published") if received else None, eta),
        "ended_at": end.at if end else None,
        "exception": end.raw.get("exception") if end else None,
        "traceback": end.raw.get("traceback") if end else None,
        "run": end.raw.get("runtime") if end else None,
    }


def _open(received: Told | None, started: float | None, eta: float | None) -> str:
    if started is not None:
        return "running"
    assert received is not None
    if eta is None or eta <= received.at:
        return "received"
    return "retrying" if received.raw["retries"] else "scheduled"
