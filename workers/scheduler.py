"""Beat: sends what the schedules in the database ask for, and says that it lives."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from celery.beat import SchedulingError
from celery.schedules import crontab, schedstate
from celery.utils.log import get_logger
from django.db import DatabaseError, InterfaceError, close_old_connections
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry
from kombu.exceptions import OperationalError

from jobs.models import Heartbeat
from workers.schedules import next_run, problem

__all__ = ["HEARTBEAT", "Scheduler", "next_run", "problem"]

HEARTBEAT = "beat"
HEARTBEAT_INTERVAL = 2.0
# While the broker or the database is away, Beat asks again after this many seconds.
PATIENCE = 1.0
# Beat must go on ticking, so it doesn't wait for a broker as long as a worker does.
PUBLISH_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2}
# As Celery's own, which it has only where results expire.
CLEANUP = "celery.backend_cleanup"
CLEANUP_ENTRY = {"task": CLEANUP, "schedule": crontab("0", "4"), "options": {"expire_seconds": 12 * 3600}}
DATABASE_FAULTS = (DatabaseError, InterfaceError)
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

logger = get_logger(__name__)


class ScheduleEntry(ModelEntry):  # type: ignore[misc]
    """A schedule in Beat's memory."""

    def __init__(self, model: PeriodicTask, app: Any = None) -> None:
        super().__init__(model, app=app)
        self.options["retry_policy"] = PUBLISH_POLICY
        # Beat adds this when it sends; an entry with it and one without it would not compare equal.
        self.options["headers"]["celery_beat_task"] = True

    def save(self) -> None:
        """Write what a run changes and nothing else, so that no edit made meanwhile is lost."""
        type(self.model)._default_manager.filter(pk=self.model.pk).update(
            last_run_at=self.model.last_run_at, total_run_count=self.model.total_run_count
        )


class Scheduler(DatabaseScheduler):  # type: ignore[misc]
    """django-celery-beat's scheduler without its hour window, and with a place that it keeps.

    What it holds in memory (`_schedule`) is always what it did last, so that
    neither an unreadable database nor an absent broker makes it forget or
    repeat a run. What could not be written stays in `_dirty`; what could not
    be sent is taken back and tried again.
    """

    Entry = ScheduleEntry

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._told: dict[str, str] = {}
        self._unreadable: dict[int, str] = {}
        self._heartbeat_due = 0.0
        self._waiting = False
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """One iteration of Beat's loop; returns the seconds to the next one."""
        self._waiting = False
        delay = float(super().tick(*args, **kwargs))
        if self._dirty:
            self.sync()
        self._say_alive()
        return max(delay, PATIENCE) if self._waiting else delay

    def install_default_entries(self, data: Any) -> None:
        """The clean-up of the result backend, also where results never expire: claims of chords do."""
        self.update_from_dict({CLEANUP: CLEANUP_ENTRY})

    def enabled_models_qs(self) -> Any:
        """Every enabled schedule, whatever its hour."""
        return self.Model.objects.enabled()

    def all_as_schedule(self) -> dict[str, ScheduleEntry]:
        """Every schedule that can run; what is in memory already if the database can't be read."""
        try:
            # First the mark, then the rows: an edit between the two is found by the next look.
            self._last_timestamp = self.Changes.last_change() or LONG_AGO
            models = self.enabled_models()
        except DATABASE_FAULTS as error:
            if self._schedule is None:
                raise
            self._tell("database", f"the schedules can't be read, going on with those known: {error}")
            self._last_full_sync = datetime.min  # noqa: DTZ901 naive as in django-celery-beat; asks again soon
            return dict(self._schedule)
        self._recovered("database")
        return {
            model.name: self.Entry(self._with_unsaved(model), app=self.app) for model in self._able(models)
        }

    def schedule_changed(self) -> bool:
        """Whether somebody edited a schedule since the last read."""
        try:
            close_old_connections()
            changed = (self.Changes.last_change() or LONG_AGO) > self._last_timestamp
        except DATABASE_FAULTS as error:
            self._tell("database", f"the schedules can't be read, going on with those known: {error}")
            return False
        self._recovered("database")
        return bool(changed)

    def sync(self) -> None:
        """Write what ran since the last time; what can't be written stays for the next time."""
        try:
            close_old_connections()
            for name in list(self._dirty):
                if entry := (self._schedule or {}).get(name):
                    entry.save()
                self._dirty.discard(name)
        except DATABASE_FAULTS as error:
            self._tell("saving", f"the last runs can't be saved yet: {error}")
        else:
            self._recovered("saving")

    def reserve(self, entry: ScheduleEntry) -> ScheduleEntry:
        """Advance `entry`, in the heap and in memory alike."""
        advanced: ScheduleEntry = super().reserve(entry)
        self._schedule[advanced.name] = advanced
        return advanced

    def is_due(self, entry: ScheduleEntry) -> Any:
        """A due entry is held back, and stays due, while there is no broker to send to."""
        state = super().is_due(entry)
        if state[0] and not self._broker_answers():
            return schedstate(False, PATIENCE)
        return state

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        """Send the job of a due entry; if the broker is away after all, take the run back."""
        logger.debug("%s is due: sending %s", entry.name, entry.task)
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except SchedulingError as error:
            if isinstance(error.__context__, (OperationalError, *self.connection.connection_errors)):
                self._take_back(entry)
                self._tell("broker", f"the broker is away, runs wait: {error.__context__}")
            else:
                logger.error("%s can't be sent: %s", entry.name, error)
        else:
            self._recovered("broker")

    def _take_back(self, entry: ScheduleEntry) -> None:
        """Undo `reserve`: the run did not happen and is still due."""
        entry.model.last_run_at = entry.last_run_at
        entry.model.total_run_count = entry.total_run_count
        self._schedule[entry.name] = entry
        self._dirty.add(entry.name)
        self._waiting = True
        self._heap_invalidated = True

    def _broker_answers(self) -> bool:
        try:
            self.connection.ensure_connection(max_retries=1, timeout=PATIENCE)
        except (OperationalError, *self.connection.connection_errors) as error:
            self._tell("broker", f"the broker is away, runs wait: {error}")
            self._waiting = True
            return False
        return True

    def _with_unsaved(self, model: PeriodicTask) -> PeriodicTask:
        """The row, with a run of ours that is not written yet: read without it, it would run again."""
        known = (self._schedule or {}).get(model.name)
        if known is not None and model.name in self._dirty:
            model.last_run_at = known.model.last_run_at
            model.total_run_count = known.model.total_run_count
        return model

    def _able(self, models: Iterable[PeriodicTask]) -> list[PeriodicTask]:
        """Those that Beat can run; each of the others is logged once."""
        found = {model.pk: (model, problem(model)) for model in models}
        unable = {pk: fault for pk, (_, fault) in found.items() if fault is not None}
        for pk in unable.keys() - self._unreadable.keys():
            logger.warning("schedule %r can't run: %s", found[pk][0].name, unable[pk])
        self._unreadable = unable
        return [model for model, fault in found.values() if fault is None]

    def _say_alive(self) -> None:
        if time.monotonic() < self._heartbeat_due:
            return
        self._heartbeat_due = time.monotonic() + HEARTBEAT_INTERVAL
        detail = {"schedules": len(self._schedule or {}), "unreadable": len(self._unreadable)}
        try:
            write_heartbeat(HEARTBEAT, detail)
        except DATABASE_FAULTS as error:
            self._tell("heartbeat", f"the heartbeat can't be written: {error}")
        else:
            self._recovered("heartbeat")

    def _tell(self, what: str, message: str) -> None:
        """Log a trouble when it begins, not each time it is met."""
        if what not in self._told:
            self._told[what] = message
            logger.warning("beat: %s", message)

    def _recovered(self, what: str) -> None:
        if self._told.pop(what, None):
            logger.warning("beat: %s works again", what)


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
