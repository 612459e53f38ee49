"""Which of several monitors works: a lease in Redis, so that the others don't get in its way.

The lease is a courtesy. What keeps two monitors from counting twice is the
compare-and-set of the position (`jobs.record`).
"""

from __future__ import annotations

import secrets

import redis

SECONDS = 6.0
_RENEW = """
if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end
return redis.call('set', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0
"""
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


class Lease:
    """A lease on `name`, held by one process at a time for SECONDS after its last `hold`."""

    def __init__(self, client: redis.Redis, name: str) -> None:
        self._client = client
        self._name = f"nightdesk:lease:{name}"
        self._token = secrets.token_hex(16)

    def hold(self) -> bool:
        """Take or renew the lease; False while another process has it."""
        return bool(self._client.eval(_RENEW, 1, self._name, self._token, str(int(SECONDS * 1000))))

    def release(self) -> None:
        """Let another process take over at once."""
        self._client.eval(_RELEASE, 1, self._name, self._token)
