"""Keeps paused queues unread, and has them read again: a wish that outlives monitor, broker and workers.

A recorded worker reads the set of paused queues before it takes its first
message (`nightdesk.paused`). Any other is told as soon as it is seen to read
one. Who was told is kept with the pause, and told to read on afterwards.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
import redis
from django.utils.translation import gettext as _
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobs.audit import Deed, write_down
from jobs.liveness import queues_of, worker_states
from jobs.models import Action, Cluster, Pause, Worker
from jobs.models.people import Outcome
from jobs.perform import Settled, settle
from jobs.seen import MOST_WORKERS
from jobs.store.turns import written
from nightdesk.paused import PAUSED, TIMEOUT
from workers.control import Control

# How often workers are asked what they read: while a pause takes effect, and to see newcomers.
SOON, LATER = timedelta(seconds=1), timedelta(seconds=5)
# A worker that can't be told for so long is left to whoever restarts it.
RESUMES_WITHIN = timedelta(hours=1)
HEARD_WITHIN = timedelta(minutes=2)
# Who ends a pause whose time is over.
NAME = "Nightdesk"


@dataclass(frozen=True)
class Crew:
    """Who is there: what each worker reads that answered, and the workers that are online by the record."""

    reads: Mapping[str, frozenset[str]]
    online: Mapping[str, Worker]

    def reading(self, queue: str) -> set[str]:
        """Those that say that they read it."""
        return {name for name, queues in self.reads.items() if queue in queues}

    def silent(self, queue: str) -> set[str]:
        """Those that did not answer, and read it when last heard."""
        return {
            name
            for name, worker in self.online.items()
            if name not in self.reads and queue in queues_of(worker)
        }

    def holding(self, queue: str) -> set[str]:
        """Those that found it paused when they started."""
        return {name for name, worker in self.online.items() if queue in held_queues(worker)}

    def is_there(self, name: str) -> bool:
        return name in self.reads or name in self.online


def held_queues(worker: Worker) -> list[str]:
    return [queue for queue in (worker.held or "").split(",") if queue]


class Pauses:
    """Keeps the pauses of one cluster. `url` is the Redis in which starting workers look."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(
            url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 0)
        )
        self._looked_at: datetime | None = None

    def keep(self, control: Control, now: datetime) -> bool:
        """One round; whether anything moved. Raises BrokerUnreachable."""
        rows = list(Pause.objects.filter(cluster=Cluster.DEFAULT_ID).select_related("action", "resumed_by"))
        lifted = _lift_those_that_are_over(rows, now)
        self._tell_starting_workers({row.queue for row in rows if row.resumed_at is None})
        if not self._is_time(rows, now):
            return lifted
        self._looked_at = now
        online = _online(now)
        left_behind = _left_behind(rows, online.values())
        if not (rows or left_behind):
            return lifted
        crew = Crew(control.active_queues(), online)
        for queue in left_behind:
            control.tell("add_consumer", {"queue": queue}, sorted(crew.holding(queue)))
        moved = [_kept(row, crew, control, now) for row in rows]
        return lifted or any(moved)

    def _is_time(self, rows: Sequence[Pause], now: datetime) -> bool:
        """Unsettled ones are looked after soon, others now and then, for newcomers."""
        unsettled = any(row.looked_at is None or row.reading != "[]" or row.resumed_at for row in rows)
        return self._looked_at is None or now - self._looked_at >= (SOON if unsettled else LATER)

    def _tell_starting_workers(self, paused: set[str]) -> None:
        """Make the set in Redis what it should be: it may have come back empty."""
        try:
            found = {name.decode(errors="replace") for name in self._client.smembers(PAUSED)}  # type: ignore[union-attr]
            if found != paused:
                with self._client.pipeline() as pipe:
                    pipe.delete(PAUSED)
                    if paused:
                        pipe.sadd(PAUSED, *paused)
                    pipe.execute()
        except (redis.RedisError, OSError):
            return  # a worker that starts now is told when it is seen


def _lift_those_that_are_over(rows: Sequence[Pause], now: datetime) -> bool:
    over = [row for row in rows if row.resumed_at is None and row.until is not None and row.until <= now]
    if over:
        with written():
            for row in over:
                _lift(row, now)
    return bool(over)


def _lift(row: Pause, now: datetime) -> None:
    """Unless somebody has changed the wish meanwhile."""
    wish = Pause.objects.filter(pk=row.pk, since=row.since, until=row.until, resumed_at=None)
    if wish.update(resumed_at=now):
        row.resumed_at, row.resumed_by = now, _written_down(row)
        row.save(update_fields=["resumed_by"])


def _written_down(row: Pause) -> Action:
    """Nobody asks for it now; it is resumed as its pause said."""
    reason = _("The pause was to end at this time.")
    return write_down(
        Deed(
            "queue.resume", "queue", row.queue, "monitor", who=NAME, reason=reason, queue=row.queue, open=True
        )
    )


def _online(now: datetime) -> dict[str, Worker]:
    """The workers that are there, by name."""
    heard = Worker.objects.filter(
        cluster=Cluster.DEFAULT_ID, offline_at=None, seen_at__gte=now - HEARD_WITHIN
    ).order_by("-seen_at")[:MOST_WORKERS]
    return {worker.name: worker for worker, state in worker_states(heard, now) if state in ("online", "late")}


def _left_behind(rows: Sequence[Pause], online: Collection[Worker]) -> set[str]:
    """Queues that a worker holds still though nobody has paused them: it started while they were resumed."""
    return {queue for worker in online for queue in held_queues(worker)} - {row.queue for row in rows}


def _kept(row: Pause, crew: Crew, control: Control, now: datetime) -> bool:
    return _resume(row, crew, control, now) if row.resumed_at else _hold(row, crew, control, now)


def _hold(row: Pause, crew: Crew, control: Control, now: datetime) -> bool:
    """Tell those that read it to stop; say so once none does."""
    reading = crew.reading(row.queue)
    if reading:
        control.tell("cancel_consumer", {"queue": row.queue}, sorted(reading))
    held = {*orjson.loads(row.held), *reading, *crew.holding(row.queue)}
    still = reading | crew.silent(row.queue)
    before = (row.held, row.reading)
    row.held = orjson.dumps({name: crew.is_there(name) for name in sorted(held)}).decode()
    row.reading = orjson.dumps(sorted(still)).decode()
    with written():
        # Unless somebody has changed the wish meanwhile.
        Pause.objects.filter(pk=row.pk, since=row.since, resumed_at=None).update(
            held=row.held, reading=row.reading, looked_at=now
        )
        if not still and row.action is not None and row.action.is_open:
            settle(row.action, Settled(Outcome.DONE, after={"paused": True, "held_by": sorted(held)}))
    return (row.held, row.reading) != before


def _resume(row: Pause, crew: Crew, control: Control, now: datetime) -> bool:
    """Tell those that were held to read it again; forget the pause once they do."""
    assert row.resumed_at is not None
    if row.action is not None and row.action.is_open:
        with written():
            settle(row.action, Settled(Outcome.FAILED, detail=_("Resumed before every worker had stopped.")))
    held = {*orjson.loads(row.held), *crew.holding(row.queue)}
    waiting = {name for name in held if crew.is_there(name)} - crew.reading(row.queue)
    answering = sorted(waiting & crew.reads.keys())
    if answering:
        control.tell("add_consumer", {"queue": row.queue}, answering)
    if waiting and now < row.resumed_at + RESUMES_WITHIN:
        return False
    with written():
        gone, _rows = Pause.objects.filter(pk=row.pk, resumed_at=row.resumed_at).delete()
        if gone and row.resumed_by is not None:
            settle(row.resumed_by, _resumed(waiting))
    return True


def _resumed(waiting: Collection[str]) -> Settled:
    if waiting:
        names = ", ".join(sorted(waiting))
        return Settled(
            Outcome.FAILED, detail=_("Not confirmed by %(names)s: restart them.") % {"names": names}
        )
    return Settled(Outcome.DONE, after={"paused": False})
