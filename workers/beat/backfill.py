"""Ticks that were not sent in their time, sent because somebody asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice

from django.db.models import Q
from django.utils.translation import gettext as _
from django_celery_beat.models import PeriodicTask

from jobs import outbox
from jobs.metrics import totals
from jobs.models import Action, Tick, Timeline
from jobs.outbox import Message
from jobs.ticks.deciding import Outcome, Reason, Ruling, due_between
from jobs.ticks.plans import EARLIEST, beginning, plan_of, timeline_of
from jobs.ticks.rhythms import LEAST
from workers.beat.firing import Sending, row_of
from workers.beat.known import COLUMNS, Known, reopen
from workers.beat.letters import letter

MOST = 1_000
# Not to walk for ever: a span in which more were due is not even counted.
MOST_COUNTED = 20_000
# What has its job, or will have it.
SENT = (Outcome.FIRED, Outcome.HELD)


class Uncountable(ValueError):
    """Why the ticks of a span can't be counted, in a line."""


def unsent_between(row: PeriodicTask, begin: datetime, end: datetime, now: datetime) -> list[datetime]:
    """Due times from `begin` to `end`, as the schedule is now, that Beat has decided and not sent.

    One more than MOST of them at most. Raises Unreadable and Uncountable.
    """
    if begin < EARLIEST:
        raise Uncountable(_("A span begins in 1970 or later."))
    decided = beginning(row, timeline_of(row), now)
    plan = plan_of(row, decided)
    dues = list(islice(due_between(plan, begin - LEAST, min(end, decided, now)), MOST_COUNTED + 1))
    if len(dues) > MOST_COUNTED:
        raise Uncountable(
            _("More than %(most)d ticks were due: choose a shorter span.") % {"most": MOST_COUNTED}
        )
    return list(islice(_unsent(row, dues), MOST + 1))


def _unsent(row: PeriodicTask, dues: Sequence[datetime]) -> Iterator[datetime]:
    for start in range(0, len(dues), MOST):
        some = dues[start : start + MOST]
        sent = Tick.objects.filter(schedule=row.pk, due__in=some, outcome__in=SENT)
        known = set(sent.values_list("due", flat=True))
        yield from (due for due in some if due not in known)


def fire_again(row: PeriodicTask, dues: Sequence[datetime], action: Action) -> int:
    """Send their jobs, in the transaction at hand; how many. Raises UNSENDABLE."""
    list(Timeline.objects.select_for_update().filter(schedule=row.pk))  # one after the other
    rulings = [Ruling(due, Outcome.FIRED, Reason.BACKFILLED, action.who) for due in dues]
    known = Known()
    for tick in Tick.objects.filter(schedule=row.pk).filter(Q(due__in=dues) | _over(dues)):
        known.add(tick)
    messages = [message for ruling in rulings if (message := _taken(row, ruling, known, action)) is not None]
    outbox.put_all(messages, action)
    totals.add(totals.TICKS, {Outcome.FIRED: len(messages)})
    return len(messages)


def _over(dues: Sequence[datetime]) -> Q:
    """Rows that stand for many, some of these among them."""
    return Q(until__gte=min(dues), due__lte=max(dues))


def _taken(row: PeriodicTask, ruling: Ruling, known: Known, action: Action) -> Message | None:
    """Its message, once its tick says so; None if somebody else was first."""
    message = letter(row, ruling.due)
    fresh = row_of(Sending(row.pk, ruling, message), action.at)
    tick = known.covering(row.pk, ruling.due)
    if tick is None:
        fresh.save(force_insert=True)
        return message
    if tick.outcome == Outcome.MISSED:
        return message if reopen(tick, fresh) else None
    changes = {name: getattr(fresh, name) for name in COLUMNS}
    unsent = Tick.objects.filter(pk=tick.pk, count=1).exclude(outcome__in=SENT)
    return message if unsent.update(**changes) else None
