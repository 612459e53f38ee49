"""The kinds of rules, and the parameters of each: read from JSON, and told to forms. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from jobs.models.alerts import Kind

DAY = 86_400.0


class Unreadable(ValueError):
    """Parameters that can't be read; the text says why."""


@dataclass(frozen=True)
class Number:
    """What a number may be. `unit`: "s" for seconds, "share" (0 to 1), "times" or "" for a count."""

    label: str | Promise
    least: float
    most: float
    unit: str = ""
    whole: bool = False

    def read(self, name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Unreadable(f"{name} is not a number")
        if not self.least <= value <= self.most or (self.whole and value != int(value)):
            kind = "a whole number" if self.whole else "a number"
            raise Unreadable(f"{name} is {kind} from {self.least:g} to {self.most:g}")
        return int(value) if self.whole else float(value)


@dataclass(frozen=True)
class Choice:
    """One of some words."""

    label: str | Promise
    words: Mapping[str, str | Promise]

    def read(self, name: str, value: Any) -> str:
        if not isinstance(value, str) or value not in self.words:
            raise Unreadable(f"{name} is one of {', '.join(self.words)}")
        return value


Told = Number | Choice


def _number(default: float, told: Number) -> Any:
    return field(default=told.read("the default", default), metadata={"told": told})


def _seconds(default: float, label: str | Promise, least: float = 1, most: float = 30 * DAY) -> Any:
    return _number(default, Number(label, least, most, "s"))


def _share(default: float, label: str | Promise) -> Any:
    return _number(default, Number(label, 0, 1, "share"))


def _count(default: int, label: str | Promise, least: int = 0) -> Any:
    return _number(default, Number(label, least, 1_000_000_000, whole=True))


def _choice(default: str, label: str | Promise, words: Mapping[str, str | Promise]) -> Any:
    return field(default=default, metadata={"told": Choice(label, words)})


BY = {"task": _("each task"), "queue": _("each queue")}
MEASURES = {"wait": _("wait"), "run": _("run"), "total": _("wait and run")}
# Minutes are whole, so a window is a minute at least; more would be too much to read every few seconds.
WINDOW = _("in the last")
LONGEST_WINDOW = 6 * 3600.0


@dataclass(frozen=True)
class FailureShare:
    """More than a share of the jobs that ended in a window failed."""

    more_than: float = _share(0.2, _("share of failures above"))
    at_least: int = _count(20, _("of at least so many jobs"), 1)
    window: float = _seconds(600, WINDOW, 60, LONGEST_WINDOW)
    by: str = _choice("task", _("for"), BY)


@dataclass(frozen=True)
class FailureRise:
    """The share of failures is surely more than so many times its own of the days before."""

    times: float = _number(3, Number(_("times its usual share"), 1, 1_000, "times"))
    more_than: float = _share(0.02, _("and above"))
    at_least: int = _count(20, _("of at least so many jobs"), 1)
    window: float = _seconds(900, WINDOW, 60, LONGEST_WINDOW)
    days: int = _number(7, Number(_("usual: days before"), 1, 30, whole=True))
    by: str = _choice("task", _("for"), BY)


@dataclass(frozen=True)
class Slow:
    """A percentile of how long jobs waited or ran is above a limit."""

    measure: str = _choice("wait", _("what"), MEASURES)
    percentile: float = _share(0.95, _("percentile"))
    more_than: float = _seconds(60, _("above"), 0)
    at_least: int = _count(20, _("of at least so many jobs"), 1)
    window: float = _seconds(600, WINDOW, 60, 3600)
    by: str = _choice("queue", _("for"), BY)


@dataclass(frozen=True)
class Oldest:
    """The oldest waiting job has waited longer than its queue's target; or than `seconds`, without one."""

    times: float = _number(1, Number(_("times the queue's target"), 0.1, 1_000, "times"))
    seconds: float = _seconds(300, _("for a queue without a target"))


@dataclass(frozen=True)
class Depth:
    """More jobs wait in a queue."""

    more_than: int = _count(10_000, _("waiting jobs above"))


@dataclass(frozen=True)
class NoConsumer:
    """Jobs wait in a queue that no worker reads and nobody has paused."""

    more_than: int = _count(0, _("waiting jobs above"))


@dataclass(frozen=True)
class Stalled:
    """Jobs wait all the while, a worker with a free slot reads the queue, and none of them is taken."""

    seconds: float = _seconds(120, _("for"), 60, 3600)


@dataclass(frozen=True)
class WorkerDead:
    """A worker is gone without a word, with jobs that it was running."""

    at_least: int = _count(1, _("running jobs, at least"), 1)


@dataclass(frozen=True)
class MissedTick:
    """A schedule is due, and its job has not come."""

    grace: float = _seconds(30, _("late by more than"), 1)


@dataclass(frozen=True)
class BeatSilent:
    """Beat gives no sign of life."""

    seconds: float = _seconds(30, _("silent for more than"), 10)


@dataclass(frozen=True)
class NoSuccess:
    """A task has not succeeded for a time, though it ended so often; 0: or did not run at all."""

    seconds: float = _seconds(3600, _("for"), 60, 30 * DAY)
    at_least: int = _count(5, _("though it ended so often (0: or not at all)"))


@dataclass(frozen=True)
class NewError:
    """A task fails with an exception that it never had before, or not for a day."""

    lasts: float = _seconds(900, _("counts as new for"), 60)


@dataclass(frozen=True)
class DeadLetters:
    """Dead letters wait for somebody's decision."""

    more_than: int = _count(0, _("dead letters above"))


@dataclass(frozen=True)
class Stream:
    """The record is late, has lost events, or can't reach the broker."""

    lag: float = _seconds(30, _("late by more than"), 1)
    gap: float = _seconds(900, _("a gap counts for"), 60)


Params = (
    FailureShare
    | FailureRise
    | Slow
    | Oldest
    | Depth
    | NoConsumer
    | Stalled
    | WorkerDead
    | MissedTick
    | BeatSilent
    | NoSuccess
    | NewError
    | DeadLetters
    | Stream
)

KINDS: Mapping[str, type[Any]] = {
    Kind.FAILURE_SHARE: FailureShare,
    Kind.FAILURE_RISE: FailureRise,
    Kind.SLOW: Slow,
    Kind.OLDEST: Oldest,
    Kind.DEPTH: Depth,
    Kind.NO_CONSUMER: NoConsumer,
    Kind.STALLED: Stalled,
    Kind.WORKER_DEAD: WorkerDead,
    Kind.MISSED_TICK: MissedTick,
    Kind.BEAT_SILENT: BeatSilent,
    Kind.NO_SUCCESS: NoSuccess,
    Kind.NEW_ERROR: NewError,
    Kind.DEAD_LETTERS: DeadLetters,
    Kind.STREAM: Stream,
}


def read(kind: str, params: Any) -> Params:
    """The parameters of a rule of this kind; what is missing has its default. Raises Unreadable."""
    if kind not in KINDS:
        raise Unreadable(f"there is no kind {kind!r}")
    if not isinstance(params, dict):
        raise Unreadable("the parameters are not a JSON object")
    known = told(kind)
    if unknown := sorted(str(name) for name in params.keys() - known.keys()):
        raise Unreadable(f"there is no parameter {unknown[0]!r}; there are {', '.join(known)}")
    values = {name: known[name].read(name, value) for name, value in params.items()}
    params_read: Params = KINDS[kind](**values)
    return params_read


def told(kind: str) -> dict[str, Told]:
    """What each parameter of a kind may be, for its form."""
    return {each.name: _told(each) for each in fields(KINDS[kind])}


def defaults(kind: str) -> dict[str, Any]:
    """The parameters that a rule of this kind has if nothing is said."""
    return {each.name: each.default for each in fields(KINDS[kind])}


def _told(each: Field[Any]) -> Told:
    found: Told = each.metadata["told"]
    return found


def zone(name: str) -> ZoneInfo:
    """A time zone by its name. Raises Unreadable."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Unreadable(f"there is no time zone {name!r}") from None
