"""The outbox: messages as rows of the transaction that wants them sent, until they have been published.

A row is claimed for a while by whoever publishes it, in a transaction that is
over before the broker is asked. It is looked for by what it is (due, not in
anybody's hand), never by "id > last": a lower id may commit later. A claim
that ran out may be published a second time; `workers.outbox` sees to it that
the broker takes it once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from django.db import connection, transaction
from django.db.models import F, Q

from jobs import store
from jobs.models import Action, Cluster, Outgoing
from jobs.models.people import Outcome
from jobs.store.tables import moment
from jobs.store.turns import written

# How long a claim holds: longer than a whole batch may take with a broker that is slow to answer.
LEASE = timedelta(seconds=60)
# How long what was just stored is left to the process that stored it.
IN_HAND = timedelta(seconds=5)
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=2), timedelta(minutes=10)
LONGEST_FAULT = 500


@dataclass(frozen=True)
class Message:
    """A message to be published: `body` is the exact text of Celery's JSON body, `headers` are Celery's.

    `properties` are those of AMQP (`correlation_id`, `reply_to`); without
    `due_at` it is published at once. `told`: the record hears of it as it is published, not before.
    """

    task_id: str
    task: str
    queue: str
    body: str
    headers: Mapping[str, Any]
    properties: Mapping[str, Any] = field(default_factory=dict)
    priority: int | None = None
    due_at: datetime | None = None
    told: bool = False


def put(message: Message, action: Action | None = None) -> Outgoing:
    """Have it published once the transaction at hand is committed."""
    return put_all([message], action)[0]


def put_all(messages: Iterable[Message], action: Action | None = None) -> list[Outgoing]:
    """The same for many, a statement for some hundred of them."""
    now = datetime.now(UTC)
    return store_rows([_row(message, now, action) for message in messages])


def put_instead(message: Message) -> None:
    """Have it published in place of a message of the same job that is still here, though it has been run."""
    with written():
        before = Outgoing.objects.filter(task_id=message.task_id).first()
        if before is not None:  # a row of its own: who has the other one in hand may be about to delete it
            before.delete()
        put(message, before.action if before else None)


def row_of(message: Message, action: Action | None = None) -> Outgoing:
    """Its row, to be given to `store`. Raises TypeError or ValueError where its headers are no JSON."""
    return _row(message, datetime.now(UTC), action)


def put_in_hand(messages: Iterable[Message]) -> list[Outgoing]:
    """The same, for a process that will publish them itself right after its commit."""
    now = datetime.now(UTC)
    rows = [_row(message, now, None) for message in messages]
    for row in rows:
        row.claimed_until = now + IN_HAND if row.due_at <= now else None
    return store_rows(rows)


def put_many(messages: Iterable[Message]) -> None:
    """The same as `put_all`, ten times as fast, for whoever needs no rows."""
    now = datetime.now(UTC)
    store.insert_outgoing([_values(message, now) for message in messages])


def _values(message: Message, now: datetime) -> tuple[Any, ...]:
    row = _row(message, now, None)
    created, due = row.created_at.timestamp(), row.due_at.timestamp()
    properties = (row.task_id, row.task, row.queue, row.priority, row.body, row.headers, row.properties)
    return (row.cluster_id, *properties, moment(due), moment(created))


def store_rows(rows: list[Outgoing]) -> list[Outgoing]:
    """Have them published once the transaction at hand is committed, as `put_all` does."""
    if len(rows) != 1:
        return Outgoing.objects.bulk_create(rows, batch_size=500)
    store.insert_one(rows[0])
    return rows


def _row(message: Message, now: datetime, action: Action | None) -> Outgoing:
    return Outgoing(
        cluster_id=Cluster.DEFAULT_ID,
        task_id=message.task_id,
        task=message.task,
        queue=message.queue,
        priority=message.priority,
        body=message.body,
        headers=_json(message.headers),
        properties=_json(message.properties),
        due_at=message.due_at or now,
        created_at=now,
        action=action,
        told=message.told,
    )


def _json(value: Mapping[str, Any]) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # half a surrogate pair, a number beyond 64 bits: Celery's own JSON has them
        return json.dumps(value)


def claim(now: datetime, most: int) -> list[Outgoing]:
    """Up to `most` rows that are due and in nobody's hand, the longest due first; now they are in ours."""
    free = Q(claimed_until=None) | Q(claimed_until__lt=now)
    due = Outgoing.objects.filter(free, due_at__lte=now).order_by("due_at", "pk")
    if not due.exists():  # asked for four times a second: SQLite has one writer, and others wait
        return []
    with written():
        if connection.features.has_select_for_update_skip_locked:
            due = due.select_for_update(skip_locked=True)
        rows = list(due[:most])
        Outgoing.objects.filter(pk__in=[row.pk for row in rows]).update(claimed_until=now + LEASE)
    return rows


def release(rows: Sequence[Outgoing]) -> None:
    """Not published, and not their fault: anybody may try again."""
    Outgoing.objects.filter(pk__in=[row.pk for row in rows]).update(claimed_until=None)


def postpone(row: Outgoing, fault: str, now: datetime) -> None:
    """It can't be published as it is: try again later, ever more rarely, and say why."""
    wait = min(FIRST_WAIT * 2 ** min(row.tries, 20), LONGEST_WAIT)
    Outgoing.objects.filter(pk=row.pk).update(
        claimed_until=None, tries=F("tries") + 1, fault=fault[:LONGEST_FAULT], due_at=now + wait
    )


def published(rows: Sequence[Outgoing]) -> None:
    """They are with the broker: forget them, and say so to the actions whose last ones they were."""
    actions = {row.action_id for row in rows if row.action_id is not None}
    if not actions:
        _forget(rows)
        return
    with transaction.atomic():
        _forget(rows)
        waiting = Outgoing.objects.filter(action__in=actions).values("action")
        sent = Action.objects.filter(pk__in=actions, outcome=Outcome.ASKED).exclude(pk__in=waiting)
        sent.update(outcome=Outcome.SENT)


def _forget(rows: Sequence[Outgoing]) -> None:
    """Without a look at what may refer to them: nothing does."""
    gone = Outgoing.objects.filter(pk__in=[row.pk for row in rows])
    gone._raw_delete(gone.db)


def untold(now: datetime, most: int) -> list[Outgoing]:
    """Rows that are not due, and of which the record doesn't know, since who stored them has died."""
    before = now - IN_HAND
    waiting = Outgoing.objects.filter(told=False, due_at__gt=now, created_at__lt=before)
    return list(waiting.order_by("due_at")[:most])


def told(rows: Sequence[Outgoing]) -> None:
    """The record has been told of these."""
    Outgoing.objects.filter(pk__in=[row.pk for row in rows]).update(told=True)
