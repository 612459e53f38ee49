"""Events a second into the record while people act, against the same without them.

Under a steady stream, with the lag of its events, beside a bulk at the rate that is preset and beside one
at the highest; and while a monitor drains what has piled up. Both rounds of a pair have a real monitor of
their own, one after the other: one of them with a bulk at work in that monitor, and another process that
acts at a steady pace.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from benchmarks import trace
from benchmarks.commits import Feed, Monitor, lags
from benchmarks.databases import LABELS
from benchmarks.places import Place, place
from benchmarks.report import Row, percentile
from tests.harness import Process, eventually
from tests.harness.processes import python
from workers.commands.bulk import HIGHEST_RATE, BulkStart
from workers.monitor.events import order
from workers.monitor.ingest import STREAM

BULK, OPEN_JOBS = 10_000, 60_000
PER_SECOND = 200
# What people get who change nothing, and the most that they may ask for.
BULK_RATES = (BulkStart.rate, HIGHEST_RATE)
LONGEST = 1_800.0
STEADY_SECONDS = 30.0
# What is committed this soon (seconds) after a steady stream has ended was in time.
NEAR = 1.0


@dataclass(frozen=True)
class Round:
    """One round: events a second, actions a second with what each took (seconds), jobs of the bulk done.

    `lag` is the 99th percentile from an event to its commit, in seconds; of no meaning for what has piled up.
    """

    rate: float
    actions: float
    took: list[float]
    bulk: float
    lag: float = 0.0


Pair = tuple[Round, Round]


def measure(vendor: str, jobs: int, rounds: int, rate: int) -> list[Row]:
    """Rows: the rate of ingest with and without actions, medians over pairs of rounds."""
    with place(vendor) as here:
        here.run("-m", "benchmarks.act", "prepare", str(BULK), str(OPEN_JOBS))
        rows = [row for bulk in BULK_RATES for row in _beside(here, LABELS[vendor], rounds, rate, bulk)]
        drains = _pairs(rounds, lambda busy: _drain(here, jobs, HIGHEST_RATE if busy else None))
    return [*rows, *_rows(f"{LABELS[vendor]}, draining", drains)]


def _beside(here: Place, label: str, rounds: int, rate: int, bulk: float) -> list[Row]:
    pairs = _pairs(rounds, lambda busy: _steady(here, rate, bulk if busy else None))
    what = f"{label}, {rate:,} events/s, a bulk of {bulk:.0f} jobs/s"
    return [*_rows(what, pairs, ">= 0.9"), *_lags(what, pairs)]


def _pairs(rounds: int, one: Callable[[bool], Round]) -> list[Pair]:
    """For each round the quiet one and the busy one; who is first changes."""
    pairs = []
    for number in range(rounds):
        busy_first = number % 2 == 1
        by_kind = {busy: one(busy) for busy in (busy_first, not busy_first)}
        pairs.append((by_kind[False], by_kind[True]))
    return pairs


def _steady(here: Place, rate: int, bulk: float | None) -> Round:
    with ExitStack() as stack:
        copy = stack.enter_context(here.copied())
        with copy.redis.client() as client:
            client.flushall()
        monitor = Monitor(copy)
        stack.callback(monitor.process.stop)
        actor = _actor(copy, stack, bulk) if bulk else None
        feed = Feed(copy, rate, STEADY_SECONDS)
        stack.callback(feed.process.stop)
        feed.process.wait(STEADY_SECONDS + 60)
        entries = feed.entries()
        began, ended = entries[0][1], entries[-1][1]
        took = _took(actor, began, ended) if actor else []
        done = copy.number("SELECT COALESCE(SUM(done), 0) FROM nightdesk_jobs_bulk")
        monitor.has_read(entries[-1][0], LONGEST)
        waits = lags(entries, monitor.commits())
    in_time = sum(at + wait <= ended + NEAR for (_, at), wait in zip(entries, waits, strict=True))
    seconds = ended - began
    events = in_time * trace.FLUSH_EVENTS / seconds
    return Round(events, len(took) / seconds, took, done, percentile(waits, 99))


def _drain(here: Place, jobs: int, bulk: float | None) -> Round:
    with ExitStack() as stack:
        copy = stack.enter_context(here.copied())
        with copy.redis.client() as client:
            client.flushall()
            last_id = trace.fill_stream(client, STREAM, jobs)
        actor = _actor(copy, stack, bulk) if bulk else None
        monitor = Monitor(copy)
        stack.callback(monitor.process.stop)
        monitor.has_read(last_id, LONGEST)
        commits = [commit for commit in monitor.commits() if commit.last_id <= order(last_id)]
        began, ended = commits[0].done_at - commits[0].took, commits[-1].done_at
        took = _took(actor, began, ended) if actor else []
        done = copy.number("SELECT COALESCE(SUM(done), 0) FROM nightdesk_jobs_bulk")
    seconds = ended - began
    return Round(jobs * trace.EVENTS_A_JOB / seconds, len(took) / seconds, took, done)


def _actor(here: Place, stack: ExitStack, bulk: float) -> Process:
    log = here.folder / "actions.txt"
    log.unlink(missing_ok=True)
    actor = Process(python("-m", "benchmarks.act", "at", str(PER_SECOND), str(bulk)), here.env, log)
    stack.callback(actor.stop)
    eventually(actor.text, 60)
    return actor


def _took(actor: Process, began: float, ended: float) -> list[float]:
    """How long each action took that was done meanwhile."""
    assert actor.exit_code is None, actor.text()[-3000:]
    told = [line.split() for line in actor.text().splitlines(keepends=True) if line.endswith("\n")]
    return [float(took) for at, took in told if began <= float(at) <= ended]


def _rows(what: str, pairs: list[Pair], goal: str = "") -> list[Row]:
    busy = [round for _, round in pairs]
    took = [seconds for round in busy for seconds in round.took]
    quiet_rate = median(quiet.rate for quiet, _ in pairs)
    share = median(round.rate / quiet.rate for quiet, round in pairs)
    return [
        Row(f"{what}: committed, no actions", quiet_rate, "events/s"),
        Row(f"{what}: committed, with actions", median(round.rate for round in busy), "events/s"),
        Row(f"{what}: with actions against without", share, "x", goal=goal),
        Row(
            f"{what}: actions",
            median(round.actions for round in busy),
            "actions/s",
            goal=goal and f">= {PER_SECOND}",
        ),
        Row(f"{what}: an action, p50", median(took) * 1000, "ms"),
        Row(f"{what}: an action, p99", percentile(took, 99) * 1000, "ms"),
        Row(f"{what}: jobs of the bulk done meanwhile", median(round.bulk for round in busy), "jobs"),
    ]


def _lags(what: str, pairs: list[Pair]) -> list[Row]:
    return [
        Row(f"{what}: event to commit, p99, no actions", median(quiet.lag for quiet, _ in pairs), "s"),
        Row(f"{what}: event to commit, p99, with actions", median(round.lag for _, round in pairs), "s"),
    ]
