"""Whole lives of jobs as Celery and the recorder tell them, and what is true of them.

A life is simulated: somebody publishes, workers take the message, run it,
lose it, retry it. Each thing that happens is told by an event of one process
(its writer) and is a `Told`; `tests.truth` says what a reader of any part of
these must know. Written from Celery's documentation of events and from the sources
of 5.4 to 5.7, not from `jobs.lifecycle`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from tests.stream import START

WEB, WORKERS = "web", ("w1@north", "w2@south")
# The process of the pool that runs a job; it tells its end, as the worker's main process does.
POOL = "pool"
WRITERS = (WEB, *WORKERS, POOL)

Key = tuple[int, int]


@dataclass(frozen=True)
class Told:
    """One event: `raw` with its true time, who writes it, and what it says of which attempt."""

    writer: str
    raw: dict[str, Any]
    at: float
    key: Key | None = None
    state: str | None = None


@dataclass
class Clock:
    """True time, in whole microseconds after START."""

    us: int = 0

    @property
    def at(self) -> float:
        return round(START + self.us / 1e6, 6)

    @property
    def delivery(self) -> int:
        return int(START) * 1_000_000 + self.us


@dataclass
class Life:
    """A job that is lived: `told` in the order in which it happened."""

    uuid: str
    draw: Any
    clock: Clock = field(default_factory=Clock)
    told: list[Told] = field(default_factory=list)
    retries: int = 0
    published: float = START
    first_published: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    worker: str = WORKERS[0]
    key: Key = (0, 0)

    def passes(self) -> None:
        self.clock.us += self.draw(st.integers(1, 200_000_000))

    def tell(self, kind: str, writer: str, says: str | None = None, **fields: Any) -> None:
        """An event, as its writer would tell it, at the next moment; it says in what state the attempt is."""
        self.passes()
        raw = {
            "type": kind, "uuid": self.uuid, "timestamp": self.clock.at, "hostname": writer,
            "pid": 7, "clock": self.draw(st.sampled_from([1, 2**40, 0])), "utcoffset": -1, **fields,
        }  # fmt: skip
        self.told.append(Told(writer, raw, self.clock.at, self.key if says else None, says))

    def of_request(self, kind: str, says: str, by: str | None = None, **fields: Any) -> None:
        """An event that a worker's request sends, or its pool in its name."""
        retries, delivery = self.key
        attempt = {"hostname": self.worker, "retries": retries, "delivery": delivery}
        self.tell(kind, by or self.worker, says, **attempt, **fields)

    def of_both(self, kind: str, says: str, **fields: Any) -> None:
        """An end that the pool's process tells, and then the main process; or one of them alone."""
        for by in self.draw(st.sampled_from([(None,), (POOL,), (POOL, None)])):
            self.of_request(kind, says, by, **fields)

    def publish(self, writer: str, recorded: bool, delay: int | None) -> None:
        """Somebody publishes the message; without the recorder nobody tells."""
        self.passes()
        self.published = self.clock.at
        if self.retries == 0 and recorded:
            self.first_published = self.clock.at
        moves = self.retries > 0 and self.draw(st.booleans())
        elsewhere = {"queue": self.draw(st.sampled_from(["again", "zzz"])), "priority": 3} if moves else {}
        self.facts = {
            **self.facts,
            **elsewhere,
            "eta": None if delay is None else _moment(self.draw, self.clock.at + delay),
            "args": f"[{self.retries}]",
            "kwargs": self.draw(st.sampled_from(["{}", '{"n": 1}'])),
            "body": self.draw(st.sampled_from([None, f"[[{self.retries}], {{}}, {{}}]"])),
        }
        if recorded:
            raw = {
                "type": "task-sent", "uuid": self.uuid, "timestamp": self.clock.at,
                "hostname": f"gen@{writer}", "retries": self.retries,
                **self._stamp(), **self._message(), **self._carried(),
                "exchange": "", "routing_key": "high",
            }  # fmt: skip
            self.told.append(Told(writer, raw, self.clock.at))

    def take(self) -> None:
        """A worker takes the message: the delivery has a number from here on."""
        self.passes()
        self.worker = self.draw(st.sampled_from(WORKERS))
        self.key = (self.retries, self.clock.delivery)

    def receive(self, stamped: bool) -> None:
        stamp = self._stamp() if stamped else {"queue": self.facts["queue"], "priority": None}
        carried = {} if stamped else self._carried()
        self.of_request("task-received", "received", **stamp, **self._message(), **carried)

    def start(self) -> None:
        self.of_request("task-started", "running")
        for number in range(self.draw(st.integers(0, 2))):
            self.passes()
            self.tell("job-progress", self.worker, state=f"STEP {number}", meta={"current": number})
        if self.draw(st.booleans()):
            self.tell(self.draw(st.sampled_from(["job-note", "task-meta", "cart-paid", "x"])), self.worker)

    def _stamp(self) -> dict[str, Any]:
        stamp = {name: self.facts[name] for name in ("queue", "priority", "release")}
        return {**stamp, "published": self.published, "first_published": self.first_published}

    def _message(self) -> dict[str, Any]:
        names = ("name", "root_id", "parent_id", "eta", "expires")
        return {name: self.facts[name] for name in names}

    def _carried(self) -> dict[str, Any]:
        carried = {"args": self.facts["args"], "kwargs": self.facts["kwargs"]}
        body = self.facts["body"]
        return {**carried, **({"body": body} if body else {"withheld": "redacted"})}


def _moment(draw: Any, at: float) -> str:
    """ISO 8601 as Celery writes it: in UTC without a zone, or in some zone."""
    zone = draw(st.sampled_from([None, 0, 5.5, -8]))
    if zone is None:
        return datetime.fromtimestamp(at, UTC).replace(tzinfo=None).isoformat()
    return datetime.fromtimestamp(at, timezone(timedelta(hours=zone))).isoformat()


FAULT = {"exception": "KeyError('currency')", "traceback": "Traceback…"}


def succeeds(life: Life) -> None:
    life.of_both("task-succeeded", "succeeded", result="'paid'", runtime=0.25)


def succeeds_and_is_lost(life: Life) -> None:
    """5.7: the pool process died after the result was stored."""
    life.of_request("task-succeeded", "succeeded", result="'stored'", runtime=None)


def fails(life: Life) -> None:
    life.of_both("task-failed", "failed", **FAULT)


def runs_out_of_time(life: Life) -> None:
    """5.7 tells it when the limit is over, and again when the process has ended."""
    life.of_request("task-failed", "failed", exception="TimeLimitExceeded(1)", traceback="")
    life.of_request("task-rejected", "queued", requeue=True)
    life.of_request("task-failed", "failed", exception="TimeLimitExceeded(1,)", traceback="T")


def rejects_itself(life: Life) -> None:
    """5.7: Reject(requeue=False) is a failure, and the message is rejected after it."""
    life.of_request("task-failed", "failed", exception="Reject(requeue=False)", traceback="T")
    life.of_request("task-rejected", "rejected", requeue=False)


def fails_unacknowledged(life: Life) -> None:
    """With acks_on_failure off the message goes first."""
    life.of_request("task-rejected", "rejected", requeue=False)
    life.of_request("task-failed", "failed", **FAULT)


def is_rejected(life: Life) -> None:
    """Up to 5.6 nothing but this is told of Reject(requeue=False)."""
    life.of_request("task-rejected", "rejected", requeue=False)


def is_terminated(life: Life) -> None:
    life.of_request("task-revoked", "revoked", terminated=True, signum=15, expired=False)
    if life.draw(st.booleans()):
        life.of_request("task-revoked", "revoked", terminated=True, signum="15", expired=False)


def goes_on(life: Life) -> None:
    """Still running; or the worker was killed and nobody tells."""


def is_cancelled(life: Life) -> None:
    life.of_request("task-cancelled", "queued")


def is_put_back(life: Life) -> None:
    life.of_request("task-rejected", "queued", requeue=True)


def is_a_duplicate(life: Life) -> None:
    """A chord's body that was published twice: another message has claimed it, and this one runs nothing."""
    life.of_request("job-duplicate", "duplicate", POOL)


RUNS = (
    succeeds, succeeds_and_is_lost, fails, runs_out_of_time, rejects_itself, fails_unacknowledged,
    is_rejected, is_terminated, goes_on,
)  # fmt: skip
LEFT = (goes_on, is_cancelled, is_put_back, succeeds, fails, runs_out_of_time, is_a_duplicate)


@st.composite
def lives(draw: st.DrawFn, uuid: str = "a") -> Life:
    """A job from its first publish to its end, or to where it stands now."""
    life = Life(uuid, draw)
    life.facts = {
        "name": "shop.pay",
        "queue": draw(st.sampled_from(["high", "low"])),
        "priority": draw(st.sampled_from([None, 0, 9])),
        "release": draw(st.sampled_from([None, "v1"])),
        "root_id": draw(st.sampled_from([None, uuid, "root"])),
        "parent_id": draw(st.sampled_from([None, "parent"])),
        "expires": draw(st.sampled_from([None, "2026-12-01T00:00:00+01:00"])),
    }
    recorded = draw(st.booleans())
    for retries in range(draw(st.integers(1, 3))):
        life.retries = retries
        if retries:
            life.start()
            life.of_both("task-retried", "retrying", exception="Timeout()", traceback="T")
        told = recorded or retries > 0
        delay = draw(st.sampled_from([None, 60, 3600])) if told else None
        life.publish(WEB if retries == 0 else life.worker, told, delay)
        _deliver(life, stamped=told)
    if life.draw(st.sampled_from([True, True, True, False])):
        life.start()
        life.draw(st.sampled_from(RUNS))(life)
    if life.draw(st.sampled_from([False, False, True])):
        _deliver_a_duplicate(life, stamped=told)
    return life


def _deliver_a_duplicate(life: Life, stamped: bool) -> None:
    life.take()
    life.receive(stamped)
    if life.draw(st.booleans()):
        life.of_request("task-started", "running")
    is_a_duplicate(life)


def _deliver(life: Life, stamped: bool) -> None:
    """The message is taken, perhaps more than once; the last delivery is yet to start."""
    for _ in range(life.draw(st.sampled_from([0, 0, 1, 2]))):
        life.take()
        life.receive(stamped)
        if life.draw(st.booleans()):
            life.start()
        life.draw(st.sampled_from(LEFT))(life)
    life.take()
    life.receive(stamped)


def refused(life: Life) -> None:
    """Revoked or expired before it was received: nothing but this is told of the delivery."""
    life.take()
    life.of_request("task-revoked", "revoked", terminated=False, signum=None, expired=True)


def unknown(life: Life) -> None:
    """No such task at this worker: it tells the id and the exception, and nothing else."""
    life.worker, life.key = WORKERS[0], (0, 0)
    life.tell("task-failed", life.worker, "failed", exception="NotRegistered('shop.pay')")


def waits(life: Life) -> None:
    """It was published, and nobody has taken it."""


@st.composite
def short_lives(draw: st.DrawFn, uuid: str = "a") -> Life:
    """A job that never starts."""
    life = Life(uuid, draw)
    life.facts = {
        "name": "shop.pay", "queue": "high", "priority": 5, "release": None,
        "root_id": uuid, "parent_id": None, "expires": None,
    }  # fmt: skip
    life.publish(WEB, True, draw(st.sampled_from([None, 60])))
    draw(st.sampled_from([refused, unknown, waits]))(life)
    return life


def any_life(uuid: str = "a") -> st.SearchStrategy[Life]:
    return st.one_of(lives(uuid), lives(uuid), lives(uuid), short_lives(uuid))
