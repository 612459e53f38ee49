"""The loop that works on bulks: gathers their sets, acts at their pace, and follows what comes of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import structlog
from django.conf import settings
from django.db import DatabaseError, OperationalError
from django.db.models import F, Q

from jobs.batch import REFUSALS
from jobs.models import Bulk
from jobs.models.bulk import BulkState
from workers.bulk.acting import act_on_some
from workers.bulk.following import follow, stop_if_it_goes_wrong
from workers.bulk.gathering import gather
from workers.monitor.rounds import go_round

logger = structlog.get_logger(__name__)

INTERVAL = 0.25
# One transaction; a commit of the record may have to wait for it.
MOST_AT_ONCE = 100
FOLLOW_SECONDS = 1.0
# For so long after its end a bulk is asked what became of its jobs.
FOLLOWED_FOR = timedelta(days=1)


class Pace:
    """How many jobs a bulk may act on by now; what was not used in a second is not saved up. Pure.

    Moments are monotonic seconds.
    """

    def __init__(self, now: float) -> None:
        self._at = now
        self._due = 0.0

    def due(self, rate: float, now: float) -> int:
        """How many, at `rate` a second."""
        self._due = min(self._due + (now - self._at) * rate, max(1.0, rate))
        self._at = now
        return int(self._due)

    def took(self, count: int) -> None:
        """So many were acted on."""
        self._due -= count


class BulkRunner:
    """Works while this monitor leads."""

    def __init__(self, leading: Callable[[], bool]) -> None:
        self._leading = leading
        self._paces: dict[int, Pace] = {}
        self._followed_to: dict[int, int] = {}
        self._follow_at = 0.0

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        go_round(self._round, stop, INTERVAL, "bulk actions go on later")

    def _round(self) -> None:
        if self._leading() and not settings.READ_ONLY:
            self.work(time.monotonic())

    def work(self, now: float) -> None:
        """One round: a window of each draft, what is due of each bulk, and now and then what came of it."""
        self._gather()
        self._act(now)
        if now >= self._follow_at:
            self._follow()
            self._follow_at = now + FOLLOW_SECONDS

    def _gather(self) -> None:
        drafts = Bulk.objects.filter(state=BulkState.DRAFT, frozen_at=None).exclude(filter=None)
        for bulk in drafts.select_related("user").order_by("pk"):
            if bulk.user is not None:
                with _alone(bulk.pk):
                    gather(bulk, bulk.user)

    def _act(self, now: float) -> None:
        running = dict(Bulk.objects.filter(state=BulkState.RUNNING).values_list("pk", "rate"))
        self._paces = {pk: self._paces.get(pk) or Pace(now) for pk in running}
        for pk, rate in running.items():
            with _alone(pk):
                self._act_on(pk, self._paces[pk].due(rate, now))

    def _act_on(self, pk: int, due: int) -> None:
        while due > 0:
            taken = act_on_some(pk, min(due, MOST_AT_ONCE))
            self._paces[pk].took(taken)
            due = due - taken if taken else 0

    def _follow(self) -> None:
        lately = datetime.now(UTC) - FOLLOWED_FOR
        begun = Q(state__in=(BulkState.RUNNING, BulkState.PAUSED)) | Q(ended_at__gte=lately)
        waiting = F("succeeded") + F("failed_again") + F("revoked")
        bulks = list(Bulk.objects.filter(begun, done__gt=waiting))
        self._followed_to = {bulk.pk: self._followed_to.get(bulk.pk, 0) for bulk in bulks}
        for bulk in bulks:
            with _alone(bulk.pk):
                self._followed_to[bulk.pk] = follow(bulk, self._followed_to[bulk.pk])
                stop_if_it_goes_wrong(bulk)


@contextmanager
def _alone(bulk_id: int) -> Iterator[None]:
    """What is wrong with one bulk must not keep the others waiting; a database that is away, all of them."""
    try:
        yield
    except OperationalError:
        raise
    except (DatabaseError, AttributeError, *REFUSALS) as fault:
        logger.warning("this bulk goes on later: %s", fault, bulk=bulk_id, exc_info=True)
