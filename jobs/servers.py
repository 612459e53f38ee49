"""What a Redis server tells of itself, and since when: sampled by the monitor, read by pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

# Facts that move all the time: since when they are so tells nothing.
MOVING = frozenset({"started_at", "used_memory", "evicted_keys"})


@dataclass(frozen=True)
class ServerFacts:
    """None is "it does not say". Sizes are bytes, times epoch seconds.

    `max_memory` is 0 without a limit, `snapshots` empty without any,
    `append_sync` one of "always", "everysec" and "no".
    """

    version: str | None = None
    started_at: float | None = None
    eviction: str | None = None
    used_memory: int | None = None
    max_memory: int | None = None
    evicted_keys: int | None = None
    append_only: bool | None = None
    append_sync: str | None = None
    snapshots: str | None = None
    last_snapshot_ok: bool | None = None
    last_append_ok: bool | None = None


@dataclass(frozen=True)
class ServerSample:
    """Facts, when they were told, and since when each of them is known to be so (epoch seconds)."""

    facts: ServerFacts
    at: float
    since: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        """For the detail of a Heartbeat."""
        return {"facts": asdict(self.facts), "at": self.at, "since": dict(self.since)}


def sampled(facts: ServerFacts, at: float, before: ServerSample | None) -> ServerSample:
    """The sample that follows `before`: what has not changed is so since then."""
    since = {
        name: before.since.get(name, at) if before and getattr(before.facts, name) == value else at
        for name, value in asdict(facts).items()
        if name not in MOVING
    }
    return ServerSample(facts, at, since)


def sample_of(told: Any) -> ServerSample | None:
    """The sample in a Heartbeat's detail; None if there is none, or it is of another release."""
    if not isinstance(told, Mapping) or not isinstance(told.get("facts"), Mapping):
        return None
    known = {field.name: told["facts"].get(field.name) for field in fields(ServerFacts)}
    return ServerSample(ServerFacts(**known), float(told["at"]), told.get("since") or {})
