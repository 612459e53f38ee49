"""What a Redis server tells of itself: its version, what it keeps, and what it throws away."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import redis

from jobs.servers import ServerFacts

SETTINGS = ("maxmemory-policy", "appendonly", "appendfsync", "save")


def describe(client: redis.Redis) -> ServerFacts:
    """Two questions of microseconds each. Raises redis.RedisError if the first gets no answer."""
    told: Any = client.info()
    return facts_of(told, _settings(client), time.time())


def facts_of(info: Mapping[str, Any], settings: Mapping[str, str], now: float) -> ServerFacts:
    """The facts in the answers of INFO and CONFIG GET; either may lack any of them."""
    append_only = _flag(settings.get("appendonly"))
    return ServerFacts(
        version=_text(info.get("redis_version")),
        started_at=_started_at(info.get("uptime_in_seconds"), now),
        eviction=_text(settings.get("maxmemory-policy") or info.get("maxmemory_policy")),
        used_memory=_whole(info.get("used_memory")),
        max_memory=_whole(info.get("maxmemory")),
        evicted_keys=_whole(info.get("evicted_keys")),
        append_only=_flag(info.get("aof_enabled")) if append_only is None else append_only,
        append_sync=_text(settings.get("appendfsync")),
        snapshots=_text(settings.get("save")),
        last_snapshot_ok=_ok(info.get("rdb_last_bgsave_status")),
        last_append_ok=_ok(info.get("aof_last_write_status")),
    )


def _settings(client: redis.Redis) -> dict[str, str]:
    """Empty where this Redis keeps its settings to itself, as hosted ones do."""
    try:
        told: Any = client.config_get(*SETTINGS)
    except redis.ResponseError:
        return {}
    return {_text(name) or "": _text(value) or "" for name, value in told.items()}


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return None if value is None else str(value)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _flag(value: Any) -> bool | None:
    return {"yes": True, "no": False, 1: True, 0: False}.get(value)


def _ok(value: Any) -> bool | None:
    return None if value is None else value == "ok"


def _started_at(uptime: Any, now: float) -> float | None:
    seconds = _whole(uptime)
    return None if seconds is None else now - seconds
