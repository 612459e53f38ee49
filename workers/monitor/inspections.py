"""The loop that asks workers how they are: their pool, their tasks and limits, their configuration.

Each is asked when it is first seen online and every AGAIN_AFTER from then on; one that did not answer is
asked again SOON_AFTER, and until it answers it is unreachable. A page asks nobody: it shows what was
answered, and when.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import F, Q

from jobs.models import Worker, WorkerReport
from jobs.store.turns import written
from jobs.worker_report import LIMITS, report_of
from workers.app import app
from workers.brokers import BrokerUnreachable
from workers.control import Control
from workers.monitor.rounds import go_round
from workers.monitor.sample import ONLINE_FOR

INTERVAL = 5.0
AGAIN_AFTER = timedelta(minutes=5)
SOON_AFTER = timedelta(seconds=30)
MOST_AT_ONCE = 50


class Inspector:
    """Asks while `leading`."""

    def __init__(self, leading: Callable[[], bool]) -> None:
        self._leading = leading
        self._control = Control(app, settings.CELERY_BROKER_URL)

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        go_round(self._round, stop, INTERVAL, "nobody asks workers how they are")
        self._control.close()

    def _round(self) -> None:
        if self._leading():
            inspect(self._control, datetime.now(UTC))


def inspect(control: Control, now: datetime) -> None:
    """Ask those whose turn it is, and keep what they answer. Raises BrokerUnreachable."""
    workers = due(now)
    if not workers:
        return
    # Before they are asked: one that is too busy to answer is not asked again at once.
    with written():
        for worker in workers:
            WorkerReport.objects.update_or_create(worker=worker, defaults={"asked_at": now})
    try:
        answers = _ask(control, [worker.name for worker in workers])
    except BrokerUnreachable:
        _take_back(workers)
        raise
    for worker in workers:
        keep(worker, answers.get(worker.name, {}), now)


def _take_back(workers: Sequence[Worker]) -> None:
    """They were not asked after all, so that they did not answer says nothing of them."""
    with written():
        asked = WorkerReport.objects.filter(worker__in=workers)
        asked.filter(told_at=None).delete()
        asked.update(asked_at=F("told_at"))


def due(now: datetime) -> Sequence[Worker]:
    """Those that are online and were not asked lately; the newest incarnation of a name is who answers."""
    silent = Q(report__told_at=None) | Q(report__told_at__lt=F("report__asked_at"))
    unasked = Q(report=None) | Q(report__asked_at__lte=now - AGAIN_AFTER)
    unasked |= silent & Q(report__asked_at__lte=now - SOON_AFTER)
    online = Worker.objects.filter(offline_at=None, seen_at__gt=now - ONLINE_FOR)
    return list(online.filter(unasked).order_by("seen_at", "pk")[:MOST_AT_ONCE])


def _ask(control: Control, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What each said to each question."""
    said: dict[str, dict[str, Any]] = {name: {} for name in names}
    questions: dict[str, dict[str, Any]] = {"stats": {}, "registered": {"taskinfoitems": LIMITS}, "conf": {}}
    for question, arguments in questions.items():
        for name, answer in control.ask(question, arguments, names).items():
            if name in said:
                said[name][question] = answer
    return said


def keep(worker: Worker, said: dict[str, Any], now: datetime) -> None:
    """Write down what it said; of an answer by another process of its name, that somebody was reached."""
    if not said:
        return
    reached: dict[str, Any] = {"told_at": now}
    stats = said.get("stats")
    if isinstance(stats, dict):
        of_another = worker.pid is not None and stats.get("pid") != worker.pid
        report = None if of_another else report_of(stats, said.get("registered"), said.get("conf"))
        reached["told"] = report and report.text()
    with written():
        WorkerReport.objects.filter(worker=worker).update(**reached)
