"""So many rows of everything that there is a table for, also of tables to come: each field by its kind.

The rows of a table belong to the first row of another one, so that its page has them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group, User
from django.db import models
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from jobs.models import Action, Bucket, Heartbeat, Job, LogPart, Payload, Reach, Rule, Standing
from jobs.models.alerts import Kind

APPS = ("nightdesk_jobs", "nightdesk_workers", "nightdesk_dashboard")
STATES = ("running", "failed", "queued", "retrying")
PULSES = ("monitor", "beat", "broker")
TARGETS = (("job", "task_id-1"), ("queue", "queue-1"), ("worker", "name-1"), ("schedule", "schedule-1"))

Of = Callable[[int], Any]
# What the kind of a field doesn't tell: by its name in all tables, or in one of them.
NAMED: Mapping[str, Of] = {
    "job_id": lambda n: _job(n),
    "last_job": lambda n: _job(n),
    "exception": lambda n: f"KeyError: 'currency {n}'",
    "version": lambda n: "5.7.0",
    "root_id": lambda n: "task_id-1",
    "parent_id": lambda n: "task_id-1" if n > 1 else None,
    "retry_of": lambda n: "task_id-1" if n > 1 else None,
    "group_id": lambda n: "group-1" if n > 1 else None,
    "address": lambda n: "192.0.2.1",
}
SPECIAL: Mapping[tuple[type[models.Model], str], Of] = {
    (Job, "state"): lambda n: STATES[n % len(STATES)],
    (Standing, "state"): lambda n: STATES[n % len(STATES)],
    (Bucket, "tier"): lambda n: _tier(n),
    (Bucket, "start"): lambda n: int(timezone.now().timestamp()) // _tier(n),
    (Bucket, "succeeded"): lambda n: n,
    (Bucket, "failed"): lambda n: 1,
    (Heartbeat, "name"): lambda n: PULSES[n - 1] if n <= len(PULSES) else f"name-{n}",
    (LogPart, "lines"): lambda n: f'[[1.0, "INFO", "shop", "line {n}"]]',
    (Action, "target_kind"): lambda n: TARGETS[n % len(TARGETS)][0],
    (Action, "target"): lambda n: TARGETS[n % len(TARGETS)][1],
    (Payload, "args"): lambda n: "[1]",
    (Payload, "body"): lambda n: "[[1], {}, {}]",
    (Rule, "kind"): lambda n: Kind.DEPTH,
    (Reach, "user"): lambda n: None,
}


def fill(numbers: range, without: Iterable[type[models.Model]] = ()) -> None:
    """A row of each table for each number, from 1 on; call it again with more of them.

    Tables in `without` stay as they are.
    """
    User.objects.bulk_create(User(username=f"somebody-{n}") for n in numbers)
    Group.objects.bulk_create(Group(name=f"team-{n}") for n in numbers)
    _fill_schedules(numbers)
    filled: set[type[models.Model]] = {User, Group, PeriodicTask, *without}
    _fill(Job, numbers, filled)
    for name in APPS:
        for model in apps.get_app_config(name).get_models():
            _fill(model, numbers, filled)


def _fill_schedules(numbers: range) -> None:
    often, _ = IntervalSchedule.objects.get_or_create(every=5, period=IntervalSchedule.MINUTES)
    PeriodicTask.objects.bulk_create(
        PeriodicTask(name=f"schedule-{n}", task=f"task-{n}", queue=f"queue-{n}", interval=often)
        for n in numbers
    )


def _fill(model: type[models.Model], numbers: range, filled: set[type[models.Model]]) -> None:
    """The table itself, after those that its rows belong to."""
    if model in filled or model._meta.proxy:
        return
    filled.add(model)
    for field in _columns(model):
        if isinstance(field.remote_field, models.ManyToOneRel):
            _fill(field.related_model, numbers, filled)
    table: Any = model._base_manager
    now = timezone.now()
    owners = {field.name: _owners(field, numbers.stop) for field in _columns(model) if field.is_relation}
    # Of what each owner has one, there are no more than owners.
    single = [owners[one.name] for one in _columns(model) if isinstance(one, models.OneToOneField)]
    most = min(map(len, single), default=numbers.stop)
    table.bulk_create(model(**_row(model, n, now, owners)) for n in numbers if n <= most)


def _columns(model: type[models.Model]) -> list[Any]:
    return [field for field in model._meta.concrete_fields if not isinstance(field, models.AutoField)]


def _owners(field: Any, most: int) -> Sequence[Any]:
    """The keys of the rows that a row may belong to, the first ones."""
    return list(field.related_model._base_manager.order_by("pk").values_list("pk", flat=True)[:most])


def _row(
    model: type[models.Model], n: int, now: datetime, owners: Mapping[str, Sequence[Any]]
) -> dict[str, Any]:
    told = {}
    for field in _columns(model):
        if of := SPECIAL.get((model, field.name)) or NAMED.get(field.name):
            told[field.attname] = of(n)
        elif field.is_relation:
            own = owners[field.name]
            told[field.attname] = own[n - 1] if isinstance(field, models.OneToOneField) else own[0]
        else:
            told[field.name] = _value(field, n, now)
    return told


def _value(field: Any, n: int, now: datetime) -> Any:
    """What a field of this kind may hold: by choice, by default, else different for each number."""
    if field.choices:
        return field.choices[n % len(field.choices)][0]
    if field.has_default():
        return field.get_default()
    if isinstance(field, models.DateTimeField):
        return None if field.null and n % 2 else now - timedelta(minutes=n)
    if isinstance(field, models.TextField):
        return None if field.null else f"{field.name} {n}"
    if isinstance(field, models.CharField):
        return f"{field.name}-{n}"[-int(field.max_length or 0) :]
    if isinstance(field, models.BooleanField):
        return bool(n % 2)
    return None if isinstance(field, models.TimeField) else n


def _job(n: int) -> int:
    """The number of the nth job: a database doesn't begin anew with each test."""
    return int(Job._base_manager.order_by("pk").values_list("pk", flat=True)[n - 1])


def _tier(n: int) -> int:
    return (Bucket.MINUTE, Bucket.HOUR)[n % 2]
