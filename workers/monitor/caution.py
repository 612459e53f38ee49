"""What is done about an entry that kills its reader, or makes each commit fail: at most five tries.

A process that dies can't tell of it, so a try is noted in Redis before
anything is read. Where one has died, the next reads entry by entry, so that
what is good is recorded and the place of the other is known; after the last
try that entry is set aside, unread.
"""

from __future__ import annotations

from typing import Any

import redis

# One more may have gone unnoted: in the midst of its work a process notes nothing.
MOST_TRIES = 5
NOTED_TRIES = MOST_TRIES - 1
# As much as a process may have had in hand when it died.
ALONE_ENTRIES = 1_000
KEPT_SECONDS = 86_400

_BEGIN = """
if redis.call('hget', KEYS[1], 'place') ~= ARGV[1] then redis.call('del', KEYS[1]) end
redis.call('hset', KEYS[1], 'place', ARGV[1])
redis.call('expire', KEYS[1], ARGV[2])
return redis.call('hincrby', KEYS[1], 'tries', 1) - 1
"""


class Caution:
    """How carefully to go on from a place in a stream."""

    def __init__(self, client: redis.Redis, stream: str) -> None:
        self._client = client
        self._key = f"nightdesk:tries:{stream}"
        self._deaths = 0
        self._noted = False
        self._begun = False
        self._alone = 0
        self._failed_at: str | None = None
        self._condemned: str | None = None
        self._failures = 0
        self._fault = ""

    @property
    def watches(self) -> bool:
        """Whether a try is to be noted: the first of a process, and each of an entry alone."""
        return self.alone or not self._begun

    @property
    def alone(self) -> bool:
        """Whether entries are to be read and committed one by one."""
        return self._alone > 0

    @property
    def refused(self) -> bool:
        """Whether the next entry, alone, has failed so often that it has one try left."""
        return self._failures >= NOTED_TRIES

    @property
    def fault(self) -> str | None:
        """What the failures were, by the last one's name; None if there were none."""
        return self._fault if self._failures else None

    def condemn(self, place: str) -> None:
        """The entry after `place` gets its last try: what else is written, is written."""
        self._condemned = place

    def hopeless(self, place: str) -> bool:
        """Whether the entry after `place` has had all its tries."""
        return self._deaths >= NOTED_TRIES or self._condemned == place

    def begin(self, place: str) -> None:
        """Before what follows `place` is read: note that it is tried."""
        if not self._begun:
            tries: Any = self._client.eval(_BEGIN, 1, self._key, place, str(KEPT_SECONDS))
            self._deaths, self._begun, self._noted = tries, True, True
            self._alone = ALONE_ENTRIES if tries else self._alone
        elif self.alone:
            self._client.hset(self._key, mapping={"place": place, "tries": str(self._deaths + 1)})
            self._noted = True

    def passed(self) -> None:
        """What was tried is committed, or set aside."""
        self._failures, self._condemned = 0, None
        if self._deaths >= NOTED_TRIES:
            self._deaths = 0
        self._alone = max(0, self._alone - 1)
        if self._noted and not self._alone:
            self._client.delete(self._key)
            self._noted = False

    def failed(self, place: str, fault: str) -> None:
        """A commit of what follows `place` has failed."""
        self._failures = self._failures + 1 if place == self._failed_at else 1
        self._failed_at, self._fault = place, fault
        if self._failures > 1:
            self._alone = ALONE_ENTRIES
