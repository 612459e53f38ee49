"""Events a second into the record while people act, against the same without them.

Both rounds of a pair drain the same stream with a real monitor, one after the
other: one of them with a bulk at work in that monitor, and another process
that acts at a steady pace.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from benchmarks import trace
from benchmarks.commits import Monitor
from benchmarks.databases import LABELS
from benchmarks.places import Place, place
from benchmarks.report import Row, percentile
from tests.harness import Process, eventually
from tests.harness.processes import python
from workers.monitor.events import order
from workers.monitor.ingest import STREAM

BULK, OPEN_JOBS = 10_000, 60_000
PER_SECOND = 200
LONGEST = 1_800.0


@dataclass(frozen=True)
class Round:
    """One drain: events a second, actions a second with what each took (seconds), jobs of the bulk done."""

    rate: float
    actions: float
    took: list[float]
    bulk: float


def measure(vendor: str, jobs: int, rounds: int) -> list[Row]:
    """Rows: the rate of ingest with and without actions, medians over pairs of rounds."""
    with place(vendor) as here:
        here.run("-m", "benchmarks.act", "prepare", str(BULK), str(OPEN_JOBS))
        pairs = [_pair(here, jobs, busy_first=number % 2 == 1) for number in range(rounds)]
    return _rows(LABELS[vendor], pairs)


def _pair(here: Place, jobs: int, *, busy_first: bool) -> tuple[Round, Round]:
    """The quiet round and the busy one."""
    by_kind = {busy: _round(here, jobs, busy=busy) for busy in (busy_first, not busy_first)}
    return by_kind[False], by_kind[True]


def _round(here: Place, jobs: int, *, busy: bool) -> Round:
    with ExitStack() as stack:
        copy = stack.enter_context(here.copied())
        with copy.redis.client() as client:
            client.flushall()
            last_id = trace.fill_stream(client, STREAM, jobs)
        actor = _actor(copy, stack) if busy else None
        monitor = Monitor(copy)
        stack.callback(monitor.process.stop)
        monitor.has_read(last_id, LONGEST)
        commits = [commit for commit in monitor.commits() if commit.last_id <= order(last_id)]
        began, ended = commits[0].done_at - commits[0].took, commits[-1].done_at
        took = _took(actor, began, ended) if actor else []
        done = copy.number("SELECT COALESCE(SUM(done), 0) FROM nightdesk_jobs_bulk")
    seconds = ended - began
    return Round(jobs * trace.EVENTS_A_JOB / seconds, len(took) / seconds, took, done)


def _actor(here: Place, stack: ExitStack) -> Process:
    log = here.folder / "actions.txt"
    log.unlink(missing_ok=True)
    actor = Process(python("-m", "benchmarks.act", "at", str(PER_SECOND)), here.env, log)
    stack.callback(actor.stop)
    eventually(actor.text, 60)
    return actor


def _took(actor: Process, began: float, ended: float) -> list[float]:
    """How long each action took that was done meanwhile."""
    assert actor.exit_code is None, actor.text()[-3000:]
    told = [line.split() for line in actor.text().splitlines(keepends=True) if line.endswith("\n")]
    return [float(took) for at, took in told if began <= float(at) <= ended]


def _rows(database: str, pairs: list[tuple[Round, Round]]) -> list[Row]:
    busy = [round for _, round in pairs]
    took = [seconds for round in busy for seconds in round.took]
    quiet_rate = median(quiet.rate for quiet, _ in pairs)
    return [
        Row(f"events committed, {database}, no actions", quiet_rate, "events/s"),
        Row(f"the same, {database}, with actions", median(round.rate for round in busy), "events/s"),
        Row(
            f"with actions against without, {database}",
            median(round.rate / quiet.rate for quiet, round in pairs),
            "x",
            goal=">= 0.9",
        ),
        Row(f"actions a second, {database}", median(round.actions for round in busy), "actions/s"),
        Row(f"an action, {database}, p50", median(took) * 1000, "ms"),
        Row(f"an action, {database}, p99", percentile(took, 99) * 1000, "ms"),
        Row(f"jobs of the bulk done meanwhile, {database}", median(round.bulk for round in busy), "jobs"),
    ]
