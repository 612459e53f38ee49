"""Ticks that were not sent in their time, sent because somebody asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import islice

from django.db.models import F
from django_celery_beat.models import PeriodicTask

from jobs import outbox
from jobs.metrics import totals
from jobs.models import Action, Tick, Timeline
from jobs.outbox import Message
from jobs.ticks.deciding import Outcome, Reason, Ruling, due_between
from jobs.ticks.plans import beginning, plan_of, timeline_of
from jobs.ticks.rhythms import LEAST
from workers.beat.firing import Sending, row_of
from workers.beat.letters import letter

MOST = 1_000
# What has its job, or will have it.
SENT = (Outcome.FIRED, Outcome.HELD)


def unsent_between(row: PeriodicTask, begin: datetime, end: datetime, now: datetime) -> list[datetime]:
    """Due times from `begin` to `end`, as the schedule is now, that Beat has decided and not sent.

    One more than MOST of them at most. Raises Unreadable.
    """
    decided = beginning(row, timeline_of(row), now)
    plan = plan_of(row, decided)
    dues = due_between(plan, begin - LEAST, min(end, decided, now))
    sent = set(
        Tick.objects.filter(schedule=row.pk, due__range=(begin, end), outcome__in=SENT).values_list(
            "due", flat=True
        )
    )
    return list(islice((due for due in dues if due not in sent), MOST + 1))


def fire_again(row: PeriodicTask, dues: Sequence[datetime], action: Action) -> int:
    """Send their jobs, in the transaction at hand; how many. Raises UNSENDABLE."""
    list(Timeline.objects.select_for_update().filter(schedule=row.pk))  # one after the other
    known = {tick.due: tick for tick in Tick.objects.filter(schedule=row.pk, due__in=dues)}
    messages = [message for due in dues if (message := _taken(row, due, known.get(due), action)) is not None]
    outbox.put_all(messages, action)
    totals.add(totals.TICKS, {Outcome.FIRED: len(messages)})
    return len(messages)


def _taken(row: PeriodicTask, due: datetime, known: Tick | None, action: Action) -> Message | None:
    """Its message, once its tick says so; None if somebody else was first."""
    message = letter(row, due)
    ruling = Ruling(due, Outcome.FIRED, Reason.BACKFILLED, action.who)
    fresh = row_of(Sending(row.pk, ruling, message), action.at)
    if known is None:
        fresh.save(force_insert=True)
        many = Tick.objects.filter(schedule=row.pk, due__lt=due, until__gte=due, count__gt=1)
        many.update(count=F("count") - 1)
        return message
    columns = ("outcome", "reason", "detail", "task_id", "fired_at", "known_at")
    changes = {name: getattr(fresh, name) for name in columns}
    unsent = Tick.objects.filter(pk=known.pk, count=1).exclude(outcome__in=SENT)
    return message if unsent.update(**changes) else None
