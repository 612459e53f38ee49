"""What people do to schedules: switch, pause, leave one out, send one now, make up for some, edit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from django.utils.translation import gettext as _
from django_celery_beat.models import PeriodicTask, PeriodicTasks

from jobs.models import Action, SchedulePolicy
from jobs.models.people import Outcome
from jobs.outbox import put
from jobs.perform import Refused, Settled, Subject, registered
from jobs.scopes import scope_of
from jobs.ticks.deciding import next_unsent
from jobs.ticks.plans import (
    UNREADABLE,
    Unreadable,
    beginning,
    in_a_line,
    plan_of,
    policy_of,
    rhythm_text,
    timeline_of,
)
from workers.beat.backfill import MOST, Uncountable, fire_again, unsent_between
from workers.beat.editing import Wish, apply, wish_problem
from workers.beat.letters import UNSENDABLE, letter
from workers.signatures import route_of

if TYPE_CHECKING:
    from django.contrib.auth.models import User

LONGEST_PAUSE = timedelta(days=366)
RELATED = ("interval", "crontab", "solar", "clocked", "policy", "timeline")


def find_schedule(number: int, user: User) -> PeriodicTask:
    """The schedule, if `user` may see it. Raises Refused("missing")."""
    row: PeriodicTask | None = PeriodicTask.objects.select_related(*RELATED).filter(pk=number).first()
    scope = scope_of(user)
    if row is None or scope is None or not scope.covers(row.task, row.queue or route_of(row.task)):
        raise Refused("missing", _("There is no such schedule."))
    return row


@dataclass(frozen=True)
class OfASchedule:
    """What a command about one schedule begins with: its number."""

    schedule: int

    def subject(self, user: User) -> Subject:
        row = find_schedule(self.schedule, user)
        queue = row.queue or route_of(row.task)
        return Subject("schedule", row.name, task=row.task, queue=queue, before=standing(row))

    def row(self) -> PeriodicTask:
        """It, as it stands in the transaction at hand."""
        return PeriodicTask.objects.select_related(*RELATED).get(pk=self.schedule)

    def wish(self, **wishes: Any) -> None:
        """Change its policy, and have Beat look."""
        SchedulePolicy.objects.update_or_create(schedule_id=self.schedule, defaults=wishes)
        PeriodicTasks.update_changed()


def standing(row: PeriodicTask) -> dict[str, Any]:
    """What an edit may change, as the audit keeps it."""
    policy = policy_of(row) or SchedulePolicy(schedule=row)
    names = ("overlap", "catch_up", "jitter", "paused_until", "skip_due", "owner", "note")
    return {
        "when": rhythm_text(row),
        "enabled": row.enabled,
        **{name: getattr(policy, name) for name in names},
    }


@registered
@dataclass(frozen=True)
class RunSchedule(OfASchedule):
    """Send a schedule's job now, beside its ticks."""

    name: ClassVar[str] = "schedule.run"
    permission: ClassVar[str] = "run_task"

    def execute(self, action: Action) -> Settled:
        try:
            message = letter(self.row(), None)
        except UNSENDABLE as fault:
            raise Refused("arguments", in_a_line(fault)) from None
        put(message, action)
        return Settled(after={"task_id": message.task_id})


@dataclass(frozen=True)
class _Switch(OfASchedule):
    permission: ClassVar[str] = "edit_schedule"
    on: ClassVar[bool]

    def execute(self, action: Action) -> Settled:
        rows = PeriodicTask.objects.filter(pk=self.schedule).exclude(enabled=self.on)
        changes = {"date_changed": action.at} if self.on else {"last_run_at": None}
        if not rows.update(enabled=self.on, **changes):
            raise Refused("so", _("It is so already."))
        PeriodicTasks.update_changed()
        return Settled(Outcome.DONE, after={"enabled": self.on})


@registered
@dataclass(frozen=True)
class EnableSchedule(_Switch):
    """Switch a schedule on. What was due while it was off is not sent."""

    name: ClassVar[str] = "schedule.enable"
    on: ClassVar[bool] = True


@registered
@dataclass(frozen=True)
class DisableSchedule(_Switch):
    """Switch a schedule off, until somebody switches it on."""

    name: ClassVar[str] = "schedule.disable"
    on: ClassVar[bool] = False


@registered
@dataclass(frozen=True)
class PauseSchedule(OfASchedule):
    """Send nothing that is due before a moment, or for some seconds; each tick is written down as paused."""

    name: ClassVar[str] = "schedule.pause"
    permission: ClassVar[str] = "edit_schedule"
    until: datetime | None = None
    lasts: float | None = None

    def execute(self, action: Action) -> Settled:
        until = self._end(action.at)
        self.wish(paused_until=until, paused_by=action.who)
        return Settled(Outcome.DONE, after={"paused_until": until})

    def _end(self, now: datetime) -> datetime:
        until = self.until
        if self.lasts is not None and 0 < self.lasts <= LONGEST_PAUSE.total_seconds():
            until = now + timedelta(seconds=self.lasts)
        if until is not None and until.tzinfo is None:
            until = until.replace(tzinfo=UTC)
        if until is None or not now < until <= now + LONGEST_PAUSE:
            raise Refused("until", _("The end of a pause should lie ahead, within a year."))
        return until


@registered
@dataclass(frozen=True)
class ResumeSchedule(OfASchedule):
    """End a pause now. What was due in it is not sent."""

    name: ClassVar[str] = "schedule.resume"
    permission: ClassVar[str] = "edit_schedule"

    def execute(self, action: Action) -> Settled:
        policy = policy_of(self.row())
        if policy is None or policy.paused_until is None or policy.paused_until <= action.at:
            raise Refused("not_paused", _("It is not paused."))
        self.wish(paused_until=action.at)
        return Settled(Outcome.DONE, after={"paused_until": action.at})


@registered
@dataclass(frozen=True)
class SkipNext(OfASchedule):
    """Leave the next tick out, and only that one."""

    name: ClassVar[str] = "schedule.skip"
    permission: ClassVar[str] = "edit_schedule"

    def execute(self, action: Action) -> Settled:
        due = self._next(action.at)
        if due is None:
            raise Refused("never", _("It has no next tick."))
        self.wish(skip_due=due, skipped_by=action.who)
        return Settled(Outcome.DONE, after={"skip_due": due})

    def _next(self, now: datetime) -> datetime | None:
        row = self.row()
        if not row.enabled:
            return None
        try:
            begin = beginning(row, timeline_of(row), now)
            return next_unsent(plan_of(row, begin, policy_of(row)), begin, now)
        except UNREADABLE:
            return None


@registered
@dataclass(frozen=True)
class Backfill(OfASchedule):
    """Send the jobs of ticks that were due from `begin` to `end` and were not sent.

    `confirm` is how many they are; the refusal of another number tells it.
    """

    name: ClassVar[str] = "schedule.backfill"
    permission: ClassVar[str] = "edit_schedule"
    begin: datetime
    end: datetime
    confirm: int = 0

    def execute(self, action: Action) -> Settled:
        row = self.row()
        try:
            dues = unsent_between(row, _aware(self.begin), _aware(self.end), action.at)
        except (Unreadable, Uncountable) as fault:
            raise Refused("unreadable", str(fault)) from None
        if len(dues) > MOST:
            raise Refused("many", _("These are more than %(most)d ticks.") % {"most": MOST})
        if not dues or len(dues) != self.confirm:
            raise Refused("confirm", _("There are %(count)d such ticks: confirm it.") % {"count": len(dues)})
        try:
            count = fire_again(row, dues, action)
        except UNSENDABLE as fault:
            raise Refused("arguments", in_a_line(fault)) from None
        return Settled(Outcome.DONE, after={"sent": count}, count=count)


@registered
@dataclass(frozen=True)
class EditSchedule(OfASchedule):
    """Change when a schedule is due and what is wished of it; what is None stays as it is.

    `cron` has five fields (minute, hour, day of the month, month, day of the
    week) and is meant in the time zone `zone`; `every` is in seconds. Other
    schedules that share its crontab stay as they are.
    """

    name: ClassVar[str] = "schedule.edit"
    permission: ClassVar[str] = "edit_schedule"
    cron: str | None = None
    zone: str | None = None
    every: int | None = None
    overlap: str | None = None
    catch_up: str | None = None
    jitter: float | None = None
    owner: str | None = None
    note: str | None = None

    def wanted(self) -> Wish:
        """What is wished for."""
        return Wish(
            self.cron, self.zone, self.every, self.overlap, self.catch_up, self.jitter, self.owner, self.note
        )

    def execute(self, action: Action) -> Settled:
        row, wish = self.row(), self.wanted()
        if why := wish_problem(wish, row):
            raise Refused("arguments", why)
        apply(wish, row, action.at)
        return Settled(Outcome.DONE, after=standing(self.row()))


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
