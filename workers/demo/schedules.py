"""The shop's schedules, one of each kind. Importable where the demo is not installed."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    PeriodicTasks,
)

PREFIX = "demo: "
RETIRED = "Off, because the demo is off. It comes back with DEMO=1."
TASKS = "workers.demo.tasks."


def seed_schedules(now: datetime) -> None:
    """Make the schedules that are missing, and bring back those that were retired; edits are kept."""
    known = set(PeriodicTask.objects.filter(name__startswith=PREFIX).values_list("name", flat=True))
    for name, fields in _schedules(now).items():
        if PREFIX + name not in known:
            PeriodicTask.objects.create(name=PREFIX + name, **fields)
    retired = PeriodicTask.objects.filter(name__startswith=PREFIX, enabled=False, description=RETIRED)
    if retired.update(enabled=True, description="", last_run_at=now):
        PeriodicTasks.update_changed()


def retire_schedules() -> int:
    """Switch the shop's schedules off, for their tasks are not there without the demo; how many."""
    running = PeriodicTask.objects.filter(name__startswith=PREFIX, enabled=True)
    count: int = running.update(enabled=False, description=RETIRED)
    if count:
        PeriodicTasks.update_changed()
    return count


def _schedules(now: datetime) -> dict[str, dict[str, Any]]:
    return {
        "sync the bestseller": _task("sync_product", _every(20), args=[1]),
        "revalue the bestseller": _task("process_valuation", _every(45), args=[1]),
        "stock report": _task("generate_report", _cron(minute="*/2"), kwargs={"kind": "stock"}),
        "clean up": _task("cleanup_expired", _cron(minute="*/5")),
        "nightly report": _task(
            "generate_report", _cron(minute="30", hour="2", zone="Europe/London"), kwargs={"kind": "nightly"}
        ),
        "revalue on weekdays": _task(
            "process_valuation", _cron(minute="0", hour="6", days="1-5", zone="America/New_York"), args=[2]
        ),
        "spring range goes live": _task(
            "generate_report", _at(now + timedelta(minutes=10)), kwargs={"kind": "launch"}, one_off=True
        ),
        "sweep old results": {**_cron(minute="*/10"), "task": "celery.backend_cleanup"},
    }


def _task(
    name: str,
    when: dict[str, Any],
    args: list[Any] | None = None,
    kwargs: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    return {
        **when,
        **more,
        "task": TASKS + name,
        "args": json.dumps(args or []),
        "kwargs": json.dumps(kwargs or {}),
    }


def _every(seconds: int) -> dict[str, Any]:
    return {"interval": _only(IntervalSchedule, every=seconds, period=IntervalSchedule.SECONDS)}


def _cron(minute: str, hour: str = "*", days: str = "*", zone: str = "UTC") -> dict[str, Any]:
    fields = {"day_of_week": days, "day_of_month": "*", "month_of_year": "*", "timezone": zone}
    return {"crontab": _only(CrontabSchedule, minute=minute, hour=hour, **fields)}


def _at(moment: datetime) -> dict[str, Any]:
    return {"clocked": _only(ClockedSchedule, clocked_time=moment.replace(microsecond=0))}


def _only(model: Any, **fields: Any) -> Any:
    """These tables know no uniqueness: take the first row that fits, or make one."""
    return model.objects.filter(**fields).first() or model.objects.create(**fields)
