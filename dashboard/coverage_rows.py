"""The tables of the Coverage page, cell by cell: a word, and a state where it is worth a look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard import formats
from jobs.coverage import CLAIMS, Claim, Coverage, stream_share
from jobs.known_faults import known_faults
from jobs.server_limits import memory_share
from jobs.servers import ServerFacts
from jobs.worker_facts import RabbitFacts, Setup
from jobs.worker_limits import PACKAGES, KnownWorker, can_enforce, outlives_its_message

WORKERS_SHOWN = 100
WARNING, WELL, UNKNOWN = "late", "", "unknown"


@dataclass(frozen=True)
class Cell:
    """`state` is that of a badge; without one the word stands alone. `more` is a second line."""

    word: str
    state: str = WELL
    more: str = ""


@dataclass(frozen=True)
class WorkerRow:
    """A worker and its cells, in the order of the columns."""

    known: KnownWorker
    cells: tuple[Cell, ...]

    @property
    def troubles(self) -> int:
        """How many of its cells are worth a look."""
        return sum(cell.state == WARNING for cell in self.cells)


@dataclass(frozen=True)
class ClaimRow:
    """What the record can tell, how well, and the setting that would make it more."""

    claim: Claim
    what: str
    why: str


def worker_rows(coverage: Coverage) -> list[WorkerRow]:
    """The workers, those with most troubles first."""
    rows = [WorkerRow(known, _cells(known)) for known in coverage.workers]
    return sorted(rows, key=lambda row: -row.troubles)[:WORKERS_SHOWN]


def _cells(known: KnownWorker) -> tuple[Cell, ...]:
    setup = known.setup or Setup()
    return (
        _events(known, setup),
        _stamps(known),
        _acks(setup),
        _limits(setup),
        _prefetch(setup),
        _versions(setup),
        _recorder(known, setup),
    )


def _events(known: KnownWorker, setup: Setup) -> Cell:
    if known.worker.events is None:
        return _unknown()
    if not known.worker.events:
        return Cell(_("Off"), WARNING)
    silent = setup.tasks.silent
    if silent:
        number = _("%(count)s of %(total)s tasks send none")
        return Cell(_("Partly"), WARNING, number % {"count": silent, "total": setup.tasks.total})
    return Cell(_("On"))


def _stamps(known: KnownWorker) -> Cell:
    received, unstamped = known.worker.received, known.worker.unstamped
    if received is None or unstamped is None:
        return _unknown()
    if received == 0:
        return Cell(formats.NOT_APPLICABLE)
    if unstamped:
        numbers = {"count": formats.count(unstamped), "total": formats.count(received)}
        return Cell(_("%(count)s of %(total)s lack one") % numbers, WARNING)
    return Cell(_("All"))


def _acks(setup: Setup) -> Cell:
    tasks, outlives = setup.tasks, outlives_its_message(setup)
    if tasks.late is None or tasks.total is None:
        return _unknown()
    word = _("%(late)s of %(total)s late") % {"late": tasks.late, "total": tasks.total}
    waits = formats.seconds(setup.visibility_timeout)
    if outlives and can_enforce(setup, "hard") is False:
        return Cell(word, WARNING, _("run without a limit, handed out again after %s") % waits)
    if outlives:
        longest = _("no limit") if tasks.late_unlimited else formats.seconds(tasks.late_longest)
        return Cell(word, WARNING, _("up to %(longest)s, handed out again after %(waits)s")
                    % {"longest": longest, "waits": waits})  # fmt: skip
    return Cell(word)


def _limits(setup: Setup) -> Cell:
    hard, soft = can_enforce(setup, "hard"), can_enforce(setup, "soft")
    if hard is None or setup.tasks.limited is None:
        return _unknown()
    if not setup.tasks.limited:
        return Cell(_("None set"))
    if not hard:
        return Cell(_("Not enforced"), WARNING)
    return Cell(_("Enforced") if soft else _("Hard ones only"))


def _prefetch(setup: Setup) -> Cell:
    if setup.prefetch is None:
        return _unknown()
    return Cell(str(setup.prefetch)) if setup.prefetch else Cell(_("No limit"), WARNING)


def _versions(setup: Setup) -> Cell:
    if setup.celery is None:
        return _unknown()
    others = [f"{name} {version}" for name in ("kombu", "redis") if (version := getattr(setup, name))]
    faults = sum(len(known_faults(name, getattr(setup, name) or "") or ()) for name in PACKAGES)
    return Cell(setup.celery, WARNING if faults else WELL, ", ".join(others))


def _recorder(known: KnownWorker, setup: Setup) -> Cell:
    faults, dropped = known.worker.faults, known.worker.dropped
    if faults is None or dropped is None:
        return _unknown()
    if faults or dropped:
        numbers = {"faults": formats.count(faults), "dropped": formats.count(dropped)}
        return Cell(
            formats.text(setup.recorder), WARNING, _("%(faults)s faults, %(dropped)s dropped") % numbers
        )
    return Cell(formats.text(setup.recorder))


def _unknown() -> Cell:
    return Cell(formats.UNKNOWN, UNKNOWN)


CLAIMED = {
    "ends": (gettext_lazy("How each job ended, and when"), gettext_lazy("Events of workers")),
    "waits": (gettext_lazy("When it was published, and how long it waited"), gettext_lazy("Publish stamps")),
    "arguments": (gettext_lazy("What it was asked to do"), gettext_lazy("Recorders in producers")),
    "loss": (gettext_lazy("How many events are missing"), gettext_lazy("Numbers on each event")),
    "queues": (gettext_lazy("What waits in queues, and since when"), gettext_lazy("Samples of the broker")),
    "workers": (gettext_lazy("Which workers there are, and how busy"), gettext_lazy("Heartbeats")),
    "killed": (
        gettext_lazy("What a killed worker had in hand"),
        gettext_lazy("Its jobs stay open until their messages are handed out again"),
    ),
}
assert CLAIMED.keys() >= CLAIMS.keys()


def claim_rows(claims: Sequence[Claim]) -> list[ClaimRow]:
    """What the record can tell, in words."""
    return [ClaimRow(claim, str(CLAIMED[claim.code][0]), str(CLAIMED[claim.code][1])) for claim in claims]


def server_rows(facts: ServerFacts) -> list[tuple[str, str]]:
    """What the broker tells of itself: (what, how); "?" where it doesn't say."""
    share = memory_share(facts)
    limit = _("no limit") if facts.max_memory == 0 else size(facts.max_memory)
    used = size(facts.used_memory)
    return [
        (_("Version"), formats.text(facts.version)),
        (_("When full"), formats.text(facts.eviction)),
        (_("Memory"), f"{used} / {limit}" + (f" ({formats.percent(share)})" if share is not None else "")),
        (_("Keys evicted"), formats.exact(facts.evicted_keys)),
        (_("Append-only file"), _yes_to_disk(facts.append_only, facts.append_sync)),
        (_("Snapshots"), _("none") if facts.snapshots == "" else formats.text(facts.snapshots)),
        (_("Last snapshot"), _worked(facts.last_snapshot_ok)),
        (_("Last append"), _worked(facts.last_append_ok)),
    ]


def rabbit_rows(rabbits: Sequence[RabbitFacts]) -> list[tuple[str, str]]:
    """What workers know of their RabbitMQ: (what, how), each way of being once; "?" where none can tell."""
    columns: list[tuple[str, Callable[[RabbitFacts], str]]] = [
        (_("Version"), lambda rabbit: formats.text(rabbit.version)),
        (_("Queue type"), _queue_types),
        (_("Consumer timeout"), lambda rabbit: formats.seconds(rabbit.consumer_timeout)),
        (_("Queues with priorities"), lambda rabbit: _share_of(rabbit.prioritised, rabbit)),
        (_("Queues not on disk"), lambda rabbit: _share_of(rabbit.transient, rabbit)),
        # Where none declares a length, a policy may.
        (_("Queues that overflow"), lambda rabbit: _share_of(rabbit.overflowing or None, rabbit)),
        (_("Publishes confirmed"), lambda rabbit: _yes(rabbit.confirms)),
        (_("Heartbeat"), lambda rabbit: formats.seconds(rabbit.heartbeat)),
        (_("Memory, disk, policies"), lambda rabbit: formats.UNKNOWN),
    ]
    return [(what, "; ".join(dict.fromkeys(map(how, rabbits)))) for what, how in columns]


def _queue_types(rabbit: RabbitFacts) -> str:
    if rabbit.queues is None or rabbit.quorum is None or rabbit.classic is None:
        return formats.UNKNOWN
    undeclared = rabbit.queues - rabbit.quorum - rabbit.classic
    counts = {"quorum": rabbit.quorum, "classic": rabbit.classic, formats.UNKNOWN: undeclared}
    told = {name: count for name, count in counts.items() if count}
    return ", ".join(told) if len(told) <= 1 else ", ".join(f"{n} {name}" for name, n in told.items())


def _share_of(count: int | None, rabbit: RabbitFacts) -> str:
    if count is None or rabbit.queues is None:
        return formats.UNKNOWN
    return _("%(count)s of %(total)s") % {"count": count, "total": rabbit.queues}


def _yes(value: bool | None) -> str:
    if value is None:
        return formats.UNKNOWN
    return _("on") if value else _("off")


def _yes_to_disk(value: bool | None, how: str | None) -> str:
    return _("on, to disk: %s") % formats.text(how) if value else _yes(value)


def _worked(value: bool | None) -> str:
    if value is None:
        return formats.UNKNOWN
    return _("worked") if value else _("failed")


def size(value: float | None) -> str:
    """Bytes as people say them: "941 kB", "1.2 GB"."""
    if value is None:
        return formats.UNKNOWN
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def stream_words(coverage: Coverage) -> str:
    """How full the stream is."""
    if coverage.stream is None:
        return formats.UNKNOWN
    numbers = {name: formats.count(coverage.stream[name]) for name in ("length", "cap")}
    share = formats.percent(stream_share(coverage.stream))
    return _("%(length)s of %(cap)s entries") % numbers + f" ({share})"
