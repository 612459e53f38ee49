"""How the stream itself stands: how much of it is kept, and how much may be."""

from __future__ import annotations

from typing import Any

import redis


class StreamLook:
    """Looks at one stream. `cap` is the hard limit of its length, in entries."""

    def __init__(self, client: redis.Redis, stream: str, cap: int) -> None:
        self._client = client
        self._stream = stream
        self._cap = cap

    def __call__(self) -> dict[str, Any] | None:
        """{"name", "length", "cap"}; None while Redis is away."""
        try:
            length = self._client.xlen(self._stream)
        except (redis.RedisError, OSError):
            return None
        return {"name": self._stream, "length": length, "cap": self._cap}
