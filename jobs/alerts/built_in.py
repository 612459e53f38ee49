"""The rules that are there from the first start: made once, and from then on their editors' own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.apps import apps as installed
from django.apps.registry import Apps
from django.db import transaction

from jobs.access import APP
from jobs.models import Rule
from jobs.models.alerts import Kind, Severity


@dataclass(frozen=True)
class BuiltIn:
    """A rule as it is made; times are seconds, what is not said has its default."""

    name: str
    kind: Kind
    severity: Severity
    for_seconds: float = 0
    resolve_seconds: float = 60
    params: dict[str, Any] = field(default_factory=dict)
    note: str = ""


BUILT_IN: dict[str, BuiltIn] = {
    "failures": BuiltIn(
        "Every second job fails", Kind.FAILURE_SHARE, Severity.PAGE, 60, 120, {"more_than": 0.5}
    ),
    "failure rise": BuiltIn(
        "More failures than usual",
        Kind.FAILURE_RISE,
        Severity.WARN,
        60,
        300,
        note="Compares the last 15 minutes of each task with its own last 7 days.",
    ),
    "slow": BuiltIn("Jobs wait for minutes", Kind.SLOW, Severity.WARN, 120, 300, {"more_than": 900.0}),
    "oldest": BuiltIn(
        "A queue misses its target",
        Kind.OLDEST,
        Severity.WARN,
        60,
        60,
        note="The target of a queue is in the setting QUEUES.",
    ),
    "depth": BuiltIn("A queue is very long", Kind.DEPTH, Severity.WARN, 300, 120, {"more_than": 50_000}),
    "no consumer": BuiltIn("Nobody reads a queue", Kind.NO_CONSUMER, Severity.PAGE, 60, 15),
    "stalled": BuiltIn("Workers take nothing", Kind.STALLED, Severity.PAGE, 0, 30),
    "worker dead": BuiltIn("A worker is gone with running jobs", Kind.WORKER_DEAD, Severity.WARN, 0, 15),
    "missed tick": BuiltIn("A schedule missed a tick", Kind.MISSED_TICK, Severity.PAGE, 0, 15),
    "beat silent": BuiltIn("Beat is silent", Kind.BEAT_SILENT, Severity.PAGE, 0, 15),
    "no success": BuiltIn(
        "A task has not succeeded for an hour",
        Kind.NO_SUCCESS,
        Severity.WARN,
        60,
        60,
        note="Though it ended five times. With a task by its name and 0 it tells of one that never runs.",
    ),
    "new error": BuiltIn("A new error", Kind.NEW_ERROR, Severity.INFO, 0, 0),
    "dead letters": BuiltIn("Dead letters wait", Kind.DEAD_LETTERS, Severity.INFO, 0, 15),
    "stream": BuiltIn("The record is late or incomplete", Kind.STREAM, Severity.PAGE, 15, 60),
}


def ensure_rules(apps: Apps | None = None, **_: Any) -> None:
    """Make those that are missing; `apps` are those of a migration, maybe from before there were rules.

    One that a person's rule has taken the name of waits for another start.
    """
    try:
        model: type[Rule] = (apps or installed).get_model(APP, "Rule")
    except LookupError:
        return
    made = set(model.objects.exclude(built_in=None).values_list("built_in", flat=True))
    names = set(model.objects.values_list("name", flat=True))
    missing = {key: each for key, each in BUILT_IN.items() if key not in made and each.name not in names}
    with transaction.atomic():
        rows = [_row(model, key, each) for key, each in missing.items()]
        model.objects.bulk_create(rows, ignore_conflicts=True)


def _row(model: type[Rule], key: str, each: BuiltIn) -> Rule:
    return model(
        built_in=key,
        name=each.name,
        kind=each.kind,
        severity=each.severity,
        for_seconds=each.for_seconds,
        resolve_seconds=each.resolve_seconds,
        params=each.params,
        note=each.note,
    )
