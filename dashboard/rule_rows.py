"""Rules as pages list them: what each looks at in words, and when it fired."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db.models import Count, Max, Q
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard import formats
from jobs.alerts import kinds
from jobs.alerts.kinds import Choice, Number
from jobs.alerts.past import TooMuch
from jobs.alerts.rehearse import Span, rehearse
from jobs.models import Alert, Rule
from jobs.models.alerts import AlertState, Kind

if TYPE_CHECKING:
    from django.contrib.auth.models import User

WEEK = timedelta(days=7)
TRIED_SHOWN = 5
SAYS: Mapping[str, str | Promise] = {
    Kind.FAILURE_SHARE: gettext_lazy("More than a share of the jobs that ended lately failed."),
    Kind.FAILURE_RISE: gettext_lazy(
        "The share of failures is surely above what was usual in the days before."
    ),
    Kind.SLOW: gettext_lazy("Jobs waited or ran for longer than a limit; what never ends is not counted."),
    Kind.OLDEST: gettext_lazy("The oldest waiting job has waited longer than its queue's target."),
    Kind.DEPTH: gettext_lazy("More jobs wait in a queue than a limit."),
    Kind.NO_CONSUMER: gettext_lazy("Jobs wait in a queue that no worker reads and nobody has paused."),
    Kind.STALLED: gettext_lazy("Jobs wait, a worker with a free slot reads the queue, and none is taken."),
    Kind.WORKER_DEAD: gettext_lazy("A worker is gone without a word, with jobs that it was running."),
    Kind.MISSED_TICK: gettext_lazy("A schedule was due, and its job has not come."),
    Kind.BEAT_SILENT: gettext_lazy("Beat, which sends schedules, gives no sign of life."),
    Kind.NO_SUCCESS: gettext_lazy("A task has not succeeded for a time."),
    Kind.NEW_ERROR: gettext_lazy("A task fails with an exception that it never had, or not for a day."),
    Kind.DEAD_LETTERS: gettext_lazy("Messages were given up, and wait for somebody's decision."),
    Kind.STREAM: gettext_lazy("The record is behind, has lost events, or can't reach the broker."),
}


@dataclass(frozen=True)
class Row:
    """A rule in the list: its parameters in words, and how often it fired in the last week."""

    rule: Rule
    says: str | Promise
    params: list[str]
    tells: list[str]
    fired: int
    last: datetime | None
    firing: int


@dataclass(frozen=True)
class Told:
    """A kind of rule, to choose from."""

    kind: str
    label: str
    says: str | Promise


def kinds_told() -> list[Told]:
    """All kinds."""
    return [Told(kind.value, str(kind.label), SAYS.get(kind.value, "")) for kind in Kind]


def read_rules(user: User, now: datetime) -> list[Row]:
    """All of them, those that are on first; figures are of the alerts that `user` may see."""
    rules = Rule.objects.select_related("team").prefetch_related("channels").order_by("-enabled", "name")
    fired = _fired(user, now)
    return [_row(rule, fired.get(rule.pk, (0, None, 0))) for rule in rules]


Fired = tuple[int, datetime | None, int]


def _fired(user: User, now: datetime) -> dict[int, Fired]:
    seen = Alert.objects.visible_to(user).exclude(fired_at=None).order_by().values("rule")
    counted = seen.annotate(
        week=Count("pk", filter=Q(fired_at__gte=now - WEEK)),
        last=Max("fired_at"),
        firing=Count("pk", filter=Q(state=AlertState.FIRING)),
    )
    return {row["rule"]: (row["week"], row["last"], row["firing"]) for row in counted}


def _row(rule: Rule, fired: Fired) -> Row:
    return Row(
        rule=rule,
        says=SAYS.get(rule.kind, ""),
        params=params_told(rule.kind, rule.params),
        tells=[channel.name for channel in rule.channels.all()],
        fired=fired[0],
        last=fired[1],
        firing=fired[2],
    )


def params_told(kind: str, params: Mapping[str, object]) -> list[str]:
    """The parameters of a rule, each with its label: "above 20 %"."""
    known = {**kinds.defaults(kind), **params}
    return [_param_told(told, known[name]) for name, told in kinds.told(kind).items()]


def _param_told(told: Number | Choice, value: object) -> str:
    if isinstance(told, Choice):
        return f"{told.label} {told.words.get(str(value), value)}"
    return f"{told.label} {number_told(told, value)}"


def number_told(told: Number, value: object) -> str:
    """A number with its unit."""
    if told.unit == "s":
        return formats.seconds(value)
    if told.unit == "share":
        return formats.percent(value)
    return f"{value:g}" if isinstance(value, int | float) and not told.whole else formats.exact(value)


@dataclass(frozen=True)
class Tried:
    """A time in which a rule would have fired: for what, and for how many seconds (None: till now)."""

    key: str
    since: datetime
    lasted: float | None


@dataclass(frozen=True)
class Trial:
    """What a rule would have done in the last week, or since more is known; `why_not`: nobody can tell."""

    times: int = 0
    latest: tuple[Tried, ...] = ()
    known_since: datetime | None = None
    why_not: str = ""


def tried(rule: Rule, now: datetime) -> Trial:
    """A rule, saved or not, tried against the last week."""
    begin = now - WEEK
    try:
        found = rehearse(rule, begin, now)
    except (kinds.Unreadable, TooMuch) as fault:
        return Trial(why_not=str(fault))
    if not found.possible:
        return Trial(
            why_not=_("What a rule of this kind looks at is not kept, so it can't be tried on the past.")
        )
    spans = sorted(found.spans, key=lambda span: span.began, reverse=True)
    late = found.known_since if found.known_since is not None and found.known_since > begin else None
    return Trial(len(spans), tuple(_tried(span) for span in spans[:TRIED_SHOWN]), late)


def _tried(span: Span) -> Tried:
    lasted = None if span.ended is None else (span.ended - span.began).total_seconds()
    return Tried(span.key, span.began, lasted)
