"""What a worker answers when it is asked how it is, made fit for the record: pure.

Anything may stand in an answer. It is redacted, cut and typed here; what is odd is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from jobs import values
from jobs.scopes import Scope
from nightdesk.options import SENSITIVE_KEYS
from nightdesk.redaction import Redactor

REDACTOR = Redactor(SENSITIVE_KEYS)
MOST_TASKS = 500
MOST_SETTINGS = 300
LONGEST_SETTING = 300
BUDGET = 200_000
# What is asked of each task, by Celery's names.
LIMITS = ("rate_limit", "time_limit", "soft_time_limit")
_REGISTERED = re.compile(r"(?P<task>\S+)(?: \[(?P<limits>.*)\])?", re.DOTALL)
KILOBYTE = 1024


@dataclass(frozen=True)
class Report:
    """None is not told. `memory` is the most that its main process held (bytes); `cpu`, `uptime` are seconds.

    `tasks` has a mapping for each registered task: its name, and those of LIMITS that it has. `totals` counts
    the jobs taken since its start, by task. `settings` are texts by name.
    """

    pids: list[int]
    pool: str | None = None
    most: int | None = None
    prefetched: int | None = None
    uptime: float | None = None
    memory: int | None = None
    cpu: float | None = None
    per_child: str | None = None
    transport: str | None = None
    broker: str | None = None
    totals: Mapping[str, int] | None = None
    tasks: list[dict[str, str]] | None = None
    settings: Mapping[str, str] | None = None

    def text(self) -> str:
        """As it is stored."""
        return values.storable_json(asdict(self))


def read(text: str | None) -> Report | None:
    """What is stored; None before it has answered."""
    return None if text is None else Report(**orjson.loads(text))


def within(report: Report, scope: Scope) -> dict[str, Any]:
    """What a scope shows of it: its tasks; settings only where it shows all: they name queues and tasks,
    and hold what schedules in them carry. Names are values here: a task may be called "items".
    """
    whole = asdict(report)
    totals, tasks = report.totals, report.tasks
    return {
        **whole,
        "totals": totals
        and [{"task": task, "count": count} for task, count in totals.items() if scope.covers_task(task)],
        "tasks": tasks and [task for task in tasks if scope.covers_task(task["task"])],
        "settings": report.settings and _listed(report.settings) if shows_settings(scope) else None,
    }


def shows_settings(scope: Scope) -> bool:
    """Whether what a worker is set up with may be seen."""
    return scope.spans is None and scope.payload


def _listed(settings: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "text": text} for name, text in settings.items()]


def report_of(stats: Any, registered: Any, settings: Any) -> Report:
    """A report from the answers to Celery's `stats`, `registered` and `conf`; each may be anything."""
    told, pool, usage, broker = _map(stats), _in(stats, "pool"), _in(stats, "rusage"), _in(stats, "broker")
    kilobytes = values.number(usage.get("maxrss"))
    return Report(
        pids=[pid for pid in _list(pool.get("processes"))[:MOST_TASKS] if values.count(pid) is not None],
        pool=values.name(pool.get("implementation"), 100),
        most=values.small(pool.get("max-concurrency")),
        prefetched=values.small(told.get("prefetch_count")),
        uptime=values.duration(told.get("uptime")),
        memory=None if kilobytes is None else int(kilobytes * KILOBYTE),
        cpu=_sum(values.duration(usage.get("utime")), values.duration(usage.get("stime"))),
        per_child=values.text(pool.get("max-tasks-per-child"), 40),
        transport=values.name(broker.get("transport"), 40),
        broker=_place(broker),
        totals=_totals(told.get("total")),
        tasks=_tasks(registered),
        settings=_settings(settings),
    )


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _in(value: Any, name: str) -> Mapping[str, Any]:
    return _map(_map(value).get(name))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second


def _place(broker: Mapping[str, Any]) -> str | None:
    """Host and port, without who signs in there."""
    host, port = values.name(broker.get("hostname"), 200), values.small(broker.get("port"))
    if host is None:
        return None
    return REDACTOR.text(f"{host}:{port}" if port else host)


def _totals(told: Any) -> dict[str, int] | None:
    if not isinstance(told, Mapping):
        return None
    counts = [(values.name(task), values.count(count)) for task, count in list(told.items())[:MOST_TASKS]]
    return {task: count for task, count in counts if task is not None and count is not None}


def _tasks(told: Any) -> list[dict[str, str]] | None:
    """From texts such as "shop.pay [rate_limit=10/m time_limit=30]"."""
    if not isinstance(told, list):
        return None
    texts = [text for text in (values.name(item, 500) for item in told[:MOST_TASKS]) if text is not None]
    return [_task(match) for match in map(_REGISTERED.fullmatch, sorted(texts)) if match]


def _task(match: re.Match[str]) -> dict[str, str]:
    limits = dict(part.partition("=")[::2] for part in (match["limits"] or "").split(" "))
    told = {name: limits[name] for name in LIMITS if limits.get(name) not in (None, "", "None")}
    return {"task": values.name(match["task"]) or "?", **told}


def _settings(told: Any) -> dict[str, str] | None:
    if not isinstance(told, Mapping):
        return None
    cleaned = REDACTOR.clean(dict(list(told.items())[:MOST_SETTINGS]), BUDGET).value
    return {name[:100]: _legible(value) for name, value in sorted(cleaned.items())}


def _legible(value: Any) -> str:
    text = value if isinstance(value, str) else values.storable_json(value)
    return values.storable(text if len(text) <= LONGEST_SETTING else text[: LONGEST_SETTING - 1] + "…")
