"""Beat: sends what the schedules in the database ask for, each tick once, and says that it lives.

Any number of Beats may run; one has the lease and works (`workers.beat.lease`).
What is due is decided by `jobs.ticks`, and becomes rows in one transaction
(`workers.beat.firing`), the job's message in the outbox among them: Beat asks
no broker. What could not be committed is decided again.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from celery.schedules import crontab
from celery.utils.log import get_logger
from django.db import DatabaseError, InterfaceError, close_old_connections, transaction
from django.db.models import F
from django.db.models.functions import Greatest
from django.utils import timezone
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

from jobs.models import Heartbeat, Overlap, Tick, Timeline
from jobs.store import sessions
from jobs.store.faults import may_be_of_the_data
from jobs.store.turns import written
from jobs.ticks.deciding import Outcome, Reason, Ruling, decide
from jobs.ticks.plans import UNREADABLE, in_a_line
from workers.beat.board import Board, Entry
from workers.beat.firing import Round, Sending, commit, let_go, store_timelines
from workers.beat.lease import Fenced, Lease
from workers.beat.letters import UNSENDABLE, letter
from workers.beat.running import running_jobs
from workers.schedules import next_run, problem

__all__ = ["HEARTBEAT", "Scheduler", "next_run", "problem"]

HEARTBEAT = "beat"
HEARTBEAT_INTERVAL = 2.0
# How often Beat looks whether somebody edited a schedule, and whether a job has ended that others wait for.
LOOK_SECONDS = 1.0
# Edits of which django-celery-beat isn't told (`QuerySet.update`) are found by then.
READ_SECONDS = 60.0
# While the database is away, and while another Beat works, Beat asks again after so many seconds.
PATIENCE = 1.0
STANDBY = 0.5
# So many schedules are committed together.
TOGETHER = 200
MOST_HELD = 100
# Of a Beat that stands still within a transaction, PostgreSQL lets go.
FROZEN_SECONDS = 10
# As Celery's own, which it has only where results expire.
CLEANUP = "celery.backend_cleanup"
CLEANUP_ENTRY = {"task": CLEANUP, "schedule": crontab("0", "4"), "options": {"expire_seconds": 12 * 3600}}
DATABASE_FAULTS = (DatabaseError, InterfaceError)

logger = get_logger(__name__)


class Scheduler(DatabaseScheduler):  # type: ignore[misc]
    """django-celery-beat's tables, decided by `jobs.ticks` and sent by the outbox."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._told: dict[str, str] = {}
        self._looked = self._read = self._heard = float("-inf")
        self._in_a_pass = self._cut_short = False
        self._asked_for = 0
        self._lease = Lease()
        self.board = Board()
        super().__init__(*args, **kwargs)

    def setup_schedule(self) -> None:
        """The clean-up of the result backend, also where results never expire: claims of chords do.

        And the schedules that are written in the settings.
        """
        sessions.limit(lock_timeout=FROZEN_SECONDS, idle_in_transaction_session_timeout=FROZEN_SECONDS)
        for name, entry in {CLEANUP: CLEANUP_ENTRY, **self.app.conf.beat_schedule}.items():
            try:
                ModelEntry.from_entry(name, app=self.app, **entry)
            except UNSENDABLE as fault:
                logger.error("beat: the entry %r of beat_schedule can't be used: %s", name, fault)

    @property
    def schedule(self) -> dict[str, Any]:
        """What this Beat knows of, by name."""
        return {entry.row.name: entry for entry in self.board.entries.values()}

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """One pass of Beat's loop; returns the seconds to the next one."""
        self._in_a_pass = True
        try:
            if not transaction.get_connection().in_atomic_block:
                close_old_connections()
            delay = self.work(datetime.now(UTC))
            self._recovered("database")
        except Fenced:
            logger.warning("beat: another Beat has taken over; standing by")
            self.board.forget()
            delay = STANDBY
        except DATABASE_FAULTS as fault:
            self._tell("database", f"the database can't be used, what is due waits: {fault}")
            delay = PATIENCE
        finally:
            self._in_a_pass = False
        return delay

    def sync(self) -> None:
        """There is nothing that is not written."""

    def close(self) -> None:
        """Let another Beat work at once; a signal's handler may call this in the middle of a pass, which it
        ends, and Celery calls it again afterwards."""
        if self._in_a_pass:
            self._cut_short = True
        else:
            with suppress(*DATABASE_FAULTS):
                if self._cut_short:  # perhaps in the middle of a statement
                    transaction.get_connection().close()
                self._lease.release()
        super().close()

    def work(self, now: datetime) -> float:
        """Send what is due, if the lease is ours. Raises Fenced, and what the database raises."""
        led = bool(self.board.entries)
        if not self._lease.hold():
            self.board.forget()
            return STANDBY
        if not led:
            logger.info("beat: this Beat works")
        look = self._look_due()
        if look:
            self._refresh(now)
        self._say_alive()
        self._send_due(now)
        if look:
            self._let_go_of_held(now)
        return self._seconds_to_next()

    # Reading

    def _look_due(self) -> bool:
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return False
        self._looked = time.monotonic()
        return True

    def _refresh(self, now: datetime) -> None:
        """Take up what was edited."""
        if not self.board.changed() and time.monotonic() - self._read < READ_SECONDS:
            return
        adopted = self.board.read(now, self._lease.keep)
        self._read = time.monotonic()
        with written():
            self._lease.fence()
            store_timelines([entry.timeline() for entry in adopted])
            off = Timeline.objects.filter(schedule__enabled=False).exclude(rhythm="")
            off.update(rhythm="", next_at=None, decided_until=Greatest(F("decided_until"), now))
            if self.board.unreadable:
                asleep = self.board.unreadable.keys() - self.board.entries.keys()
                Timeline.objects.filter(schedule__in=asleep).update(next_at=None)

    # Sending

    def _send_due(self, now: datetime) -> None:
        due = self.board.due(now)
        try:
            for start in range(0, len(due), TOGETHER):
                self._send(due[start : start + TOGETHER], now)
        finally:
            self.board.place(entry for entry in due if entry.pk in self.board.entries)

    def _send(self, entries: Sequence[Entry], now: datetime) -> None:
        """Commit what these have become; one by one where they don't go together."""
        work = self._round(entries, now)
        try:
            commit(self._lease, work)
        except DatabaseError as fault:
            if not may_be_of_the_data(fault):
                raise
            if len(entries) > 1:
                for entry in entries:
                    self._send([entry], now)
                return
            work = self._send_once_more(entries, now)
        self._move_on(entries, work)

    def _send_once_more(self, entries: Sequence[Entry], now: datetime) -> Round:
        """The monitor may have written the same tick meanwhile. Without its messages if it still fails."""
        work = self._round(entries, now)
        try:
            commit(self._lease, work)
        except DatabaseError as fault:
            if not may_be_of_the_data(fault):
                raise
            logger.error("%s can't be sent: %s", entries[0].row.name, fault)
            work = _without_messages(work, in_a_line(fault))
            commit(self._lease, work)
        return work

    def _round(self, entries: Sequence[Entry], now: datetime) -> Round:
        careful = [entry.pk for entry in entries if entry.plan.overlap != Overlap.ALLOW]
        running = running_jobs(careful, now)
        waits = set(_held().filter(schedule__in=careful).values_list("schedule", flat=True))
        work = Round(now, once={entry.pk for entry in entries if entry.plan.once})
        for entry in entries:
            self._lease.keep()
            try:
                held = entry.pk in waits
                rulings = decide(
                    entry.plan, entry.decided_until, now, running.get(entry.pk), held, self._lease.keep
                )
                ahead = _ahead(entry, rulings[-1].last) if rulings else None
            except UNREADABLE as fault:
                self.board.leave_out(entry, f"it has no next time: {in_a_line(fault)}")
                continue
            work.sendings += [self._sending(entry, ruling) for ruling in rulings]
            work.timelines += [ahead] if ahead else []
        return work

    def _sending(self, entry: Entry, ruling: Ruling) -> Sending:
        if ruling.outcome != Outcome.FIRED:
            return Sending(entry.pk, ruling)
        try:
            return Sending(entry.pk, ruling, letter(entry.row, ruling.due))
        except UNSENDABLE as fault:
            logger.error("%s can't be sent: %s", entry.row.name, fault)
            return Sending(entry.pk, _faulty(ruling, in_a_line(fault)))

    def _move_on(self, entries: Iterable[Entry], work: Round) -> None:
        """It is committed: now it is so in memory, too."""
        until = {timeline.schedule_id: timeline.decided_until for timeline in work.timelines}
        sent = {each.schedule for each in work.sendings if each.message is not None}
        for entry in entries:
            if entry.pk in until:
                entry.decided(until[entry.pk])
            if entry.pk in work.once & sent:
                self.board.done(entry.pk)

    def _let_go_of_held(self, now: datetime) -> None:
        """Send what waited for a job that has ended by now."""
        waiting = self._next_that_wait()
        free = set(waiting) - running_jobs(waiting, now).keys()
        for tick in _held().filter(schedule__in=free).order_by("known_at")[:MOST_HELD]:
            self._lease.keep()
            entry = self.board.entries.get(tick.schedule_id)
            try:
                message = letter(entry.row, tick.due) if entry else None
            except UNSENDABLE as fault:
                logger.error("%s can't be sent: %s", tick, fault)
                message = None
            let_go(self._lease, tick, message, now)

    def _next_that_wait(self) -> list[int]:
        """Schedules with a tick that waits; where they are many, others with each look."""
        waiting = sorted(set(_held().values_list("schedule", flat=True)))
        if len(waiting) <= MOST_HELD:
            return waiting
        turn = ([pk for pk in waiting if pk > self._asked_for] + waiting)[:MOST_HELD]
        self._asked_for = turn[-1]
        return turn

    def _seconds_to_next(self) -> float:
        following = self.board.next_at()
        if following is None:
            return LOOK_SECONDS
        return min(LOOK_SECONDS, max(0.0, (following - datetime.now(UTC)).total_seconds()))

    # Saying

    def _say_alive(self) -> None:
        if time.monotonic() - self._heard < HEARTBEAT_INTERVAL:
            return
        detail = {"schedules": len(self.board.entries), "unreadable": len(self.board.unreadable)}
        write_heartbeat(HEARTBEAT, detail)
        self._heard = time.monotonic()

    def _tell(self, what: str, message: str) -> None:
        """Log a trouble when it begins, not each time it is met."""
        if what not in self._told:
            self._told[what] = message
            logger.warning("beat: %s", message)

    def _recovered(self, what: str) -> None:
        if self._told.pop(what, None):
            logger.warning("beat: %s works again", what)


def _held() -> Any:
    return Tick.objects.filter(outcome=Outcome.HELD)


def _ahead(entry: Entry, until: datetime) -> Timeline:
    ahead = replace(entry, next_at=None)
    ahead.decided(until)
    return ahead.timeline()


def _faulty(ruling: Ruling, why: str) -> Ruling:
    return Ruling(ruling.due, Outcome.MISSED, Reason.FAULTY, why)


def _without_messages(work: Round, why: str) -> Round:
    """The same round, with what it can't send as missed."""
    sendings = [
        each if each.message is None else Sending(each.schedule, _faulty(each.ruling, why))
        for each in work.sendings
    ]
    return Round(work.now, sendings, work.timelines)


def write_heartbeat(name: str, detail: dict[str, Any]) -> None:
    """Record that the process `name` lives, with what it has to say."""
    sign = {
        "at": timezone.now(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "detail": json.dumps(detail),
    }
    if not Heartbeat.objects.filter(name=name).update(**sign):
        Heartbeat.objects.bulk_create([Heartbeat(name=name, **sign)], ignore_conflicts=True)
