"""What a broker can be asked, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from jobs.servers import ServerFacts


class BrokerUnreachable(Exception):
    """The broker did not answer, in time or at all; the text says why in one line."""


@dataclass(frozen=True)
class QueueDepth:
    """How a queue stands.

    `depth` counts the messages that wait, over all priorities; `oldest_at` is
    since when the oldest of them waits (its publish, or its eta if that was
    later), None if nothing waits or no message says; `unacked` counts the
    messages of this queue that a worker holds, None if the broker can't tell;
    `priorities` has how many wait of each priority (9 the most urgent) that any
    has, None if the broker can't tell.
    """

    depth: int
    oldest_at: datetime | None
    unacked: int | None
    priorities: Mapping[int, int] | None = None


@dataclass(frozen=True)
class Waiting:
    """A message in a queue: the job that it would have run, and which attempt."""

    task_id: str
    task: str | None
    retries: int


class Broker(Protocol):
    """One broker. All but `purge` are questions that change nothing; all raise BrokerUnreachable."""

    def sample(self, queues: Sequence[str]) -> dict[str, QueueDepth]:
        """How each of `queues` stands now; a queue that does not exist has depth 0."""

    def unacked(self) -> int | None:
        """Messages held by workers, over all queues; None if it can't tell."""

    def discover(self) -> set[str]:
        """The names of the queues that jobs were ever sent to."""

    def latency(self) -> float:
        """Seconds that one question and its answer take."""

    def describe(self) -> ServerFacts:
        """What the broker tells of itself; what it doesn't say is None."""

    def purge(
        self, queue: str, once: str, gone: Callable[[Sequence[Waiting]], None], *, begin: bool = True
    ) -> int | None:
        """Take out all that waits in `queue` at one moment; how many messages that were.

        `gone` gets what is known of them, some hundred at a time, before the
        last trace of them is deleted. Repeated with the same `once`, it goes on
        where it was, and takes nothing that came later. Without `begin` it only
        goes on: None if nothing was begun.
        """

    def close(self) -> None:
        """Let go of the connection."""
