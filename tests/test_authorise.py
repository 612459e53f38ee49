"""Who may do what: each address and each command, for each role, through pages, sockets and API.

The tables below say what is expected. An address or a command that is not in
them fails these tests: nothing comes in unthought of.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from django.contrib.auth.models import Group, User
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from dashboard.consumers import make_frame, scopes_of, topics_asked
from jobs import live
from jobs.models import (
    Action,
    Alert,
    Bulk,
    Channel,
    DeadLetter,
    Error,
    Job,
    Notice,
    Order,
    Outgoing,
    Pause,
    Payload,
    QueueSample,
    Reach,
    Revocation,
    Rule,
    Standing,
    Trigger,
    Worker,
)
from jobs.models.alerts import Kind
from jobs.models.bulk import BulkState
from jobs.perform import Actor, Command, perform, registered
from tests.alerting import an_alert
from tests.api import Program, token_of
from tests.setups import a_worker
from tests.test_closed_by_default import addresses
from workers import commands as _commands  # noqa: F401 it fills the registry
from workers.monitor.publish import INTERVALS
from workers.signatures import own_task_names, why_unfit

pytestmark = pytest.mark.django_db

# Nobody is signed in; signed in without a role; the three roles; an admin of another team's queues.
ROLES = ("anonymous", "none", "viewer", "operator", "admin", "stranger")
READERS = ("viewer", "operator", "admin", "stranger")
AUDITORS = ("operator", "admin", "stranger")
OPERATORS, ADMINS = ("operator", "admin"), ("admin",)
OVERSEERS = ("viewer", "operator", "admin")

# Each command, and who may use it on what is within their reach.
MAY: dict[str, tuple[str, ...]] = {
    "job.retry": OPERATORS,
    "job.rerun": OPERATORS,
    "job.revoke": OPERATORS,
    "job.terminate": OPERATORS,
    "dead.requeue": OPERATORS,
    "dead.discard": OPERATORS,
    "task.run": ADMINS,
    "bulk.preview": (*OPERATORS, "stranger"),  # each job is measured by itself: a stranger gets an empty set
    "bulk.start": OPERATORS,
    "bulk.pause": OPERATORS,
    "bulk.resume": OPERATORS,
    "bulk.abort": OPERATORS,
    "alert.acknowledge": OPERATORS,
    "alert.silence": OPERATORS,
    "alert.unsilence": OPERATORS,
    "alert.note": OPERATORS,
    "error.resolve": OPERATORS,
    "error.ignore": OPERATORS,
    "error.reopen": OPERATORS,
    "error.assign": OPERATORS,
    "error.note": OPERATORS,
    "rule.save": ADMINS,
    "rule.enable": ADMINS,
    "rule.disable": ADMINS,
    "channel.test": ADMINS,
    "queue.pause": OPERATORS,
    "queue.resume": OPERATORS,
    "queue.purge": ADMINS,
    "worker.shutdown": ADMINS,
    "worker.restart-pool": ADMINS,
    "worker.grow": OPERATORS,
    "worker.shrink": OPERATORS,
    "worker.autoscale": OPERATORS,
    "worker.add-consumer": OPERATORS,
    "worker.cancel-consumer": OPERATORS,
    "worker.events": OPERATORS,
    "task.rate-limit": OPERATORS,
    "task.time-limits": OPERATORS,
    "schedule.run": ADMINS,
    "schedule.enable": ADMINS,
    "schedule.disable": ADMINS,
    "schedule.pause": ADMINS,
    "schedule.resume": ADMINS,
    "schedule.skip": ADMINS,
    "schedule.backfill": ADMINS,
    "schedule.edit": ADMINS,
}


@dataclass(frozen=True)
class Page:
    """An address: who may read it (None: it is not for reading), and the command that a POST to it gives.

    `of` names what its parts are filled with. Where it is about one thing, a
    stranger gets 404.
    """

    readers: tuple[str, ...] | None
    command: str | None = None
    of: str | None = None
    form: dict[str, str] = dataclasses.field(default_factory=dict)


EVERYBODY = ROLES
# Workers and rules are shown to all; but what is done to one needs a reach over everything.
OF_EVERYBODY = {"worker", "worker_id", "rule"}
# What the form of a rule about the depth of queues holds.
RULE = {
    "title": "a rule",
    "severity": "warn",
    "tasks": "*",
    "queues": "low",
    "for_seconds": "0",
    "resolve_seconds": "30",
    "quiet_zone": "UTC",
    "param-more_than": "7",
}
SPAN = {"begin": "2026-11-01T00:00", "end": "2026-11-01T12:00"}
PAGES: dict[str, Page] = {
    "overview": Page(READERS),
    "jobs": Page(READERS),
    "job": Page(READERS, of="task_id"),
    "job-by-number": Page(READERS, of="job"),
    "job-retry": Page(READERS, "job.retry", "job"),
    "job-rerun": Page(READERS, "job.rerun", "job", {"step": "run", "args": "[]", "kwargs": "{}"}),
    "job-revoke": Page(READERS, "job.revoke", "running"),
    "job-terminate": Page(READERS, "job.terminate", "running", {"signal": "SIGTERM"}),
    "job-result": Page(READERS, of="job"),
    "find": Page(READERS),
    "run": Page(READERS, "task.run"),
    "bulks": Page(READERS, "bulk.preview", form={"deed": "retry", "job": "failed"}),
    "bulk": Page(READERS, of="bulk"),
    "bulk-start": Page(None, "bulk.start", "bulk", {"rate": "50", "stop_share": "0.5"}),
    "bulk-pause": Page(None, "bulk.pause", "bulk"),
    "bulk-resume": Page(None, "bulk.resume", "bulk"),
    "bulk-abort": Page(None, "bulk.abort", "bulk"),
    "tasks": Page(READERS),
    "task": Page(READERS, of="task"),
    "workflows": Page(READERS),
    "workflow": Page(READERS, of="task_id"),
    "workflow-retry": Page(None, "bulk.preview", "task_id"),
    "dead-letters": Page(READERS),
    "dead-letter": Page(READERS, of="letter"),
    "dead-requeue": Page(READERS, "dead.requeue", form={"why": "retries"}),
    "dead-discard": Page(READERS, "dead.discard", form={"why": "unreadable"}),
    "errors": Page(READERS),
    "error": Page(READERS, of="error"),
    "error-resolve": Page(None, "error.resolve", "error"),
    "error-ignore": Page(READERS, "error.ignore", "error", {"lasts": "3600"}),
    "error-reopen": Page(None, "error.reopen", "resolved_error"),
    "error-assign": Page(None, "error.assign", "error", {"who": ""}),
    "error-note": Page(None, "error.note", "error", {"text": "known"}),
    "queues": Page(READERS),
    "queue": Page(READERS, of="queue"),
    "queue-peek": Page(READERS, of="queue"),
    "queue-pause": Page(READERS, "queue.pause", "queue"),
    "queue-resume": Page(READERS, "queue.resume", "queue"),
    "queue-purge": Page(READERS, "queue.purge", "queue", {"confirm": "low"}),
    "workers": Page(READERS),
    "worker": Page(READERS, of="worker"),
    "worker-by-number": Page(READERS, of="worker_id"),
    "worker-shutdown": Page(READERS, "worker.shutdown", "worker_id"),
    "worker-restart-pool": Page(READERS, "worker.restart-pool", "worker_id"),
    "worker-grow": Page(None, "worker.grow", "worker_id", {"by": "1"}),
    "worker-shrink": Page(None, "worker.shrink", "worker_id", {"by": "1"}),
    "worker-autoscale": Page(None, "worker.autoscale", "worker_id", {"least": "1", "most": "2"}),
    "worker-add-consumer": Page(None, "worker.add-consumer", "worker_id", {"queue": "low"}),
    "worker-cancel-consumer": Page(None, "worker.cancel-consumer", "worker_id", {"queue": "low"}),
    "worker-events": Page(None, "worker.events", "worker_id", {"on": "1"}),
    "task-rate-limit": Page(None, "task.rate-limit", "worker_id", {"rate": "10/m"}),
    "task-time-limits": Page(None, "task.time-limits", "worker_id", {"soft": "1", "hard": "2"}),
    "alerts": Page(READERS),
    "alert": Page(READERS, of="alert"),
    "alert-acknowledge": Page(None, "alert.acknowledge", "alert"),
    "alert-silence": Page(READERS, "alert.silence", "alert", {"lasts": "3600"}),
    "alert-unsilence": Page(None, "alert.unsilence", "silenced_alert"),
    "alert-note": Page(None, "alert.note", "alert", {"text": "known"}),
    "rules": Page(READERS),
    "rule": Page(READERS, "rule.save", "rule", RULE),
    "rule-new": Page(READERS),
    "rule-enable": Page(None, "rule.enable", "rule"),
    "rule-disable": Page(None, "rule.disable", "rule"),
    "wall": Page(READERS),
    "alert-channels": Page(ADMINS),
    "alert-channel-test": Page(None, "channel.test", "channel"),
    "triggers": Page(OPERATORS),
    "trigger": Page(OPERATORS, of="trigger"),
    "schedules": Page(READERS),
    "schedule": Page(READERS, of="schedule"),
    "schedule-run": Page(None, "schedule.run", "schedule"),
    "schedule-enable": Page(None, "schedule.enable", "schedule"),
    "schedule-disable": Page(None, "schedule.disable", "schedule"),
    "schedule-pause": Page(READERS, "schedule.pause", "schedule", {"lasts": "900"}),
    "schedule-resume": Page(None, "schedule.resume", "schedule"),
    "schedule-skip": Page(None, "schedule.skip", "schedule"),
    "schedule-backfill": Page(
        READERS, "schedule.backfill", "schedule", {"begin": "2026-11-01T00:00", "end": "2026-11-01T12:00"}
    ),
    "schedule-edit": Page(READERS, "schedule.edit", "schedule", {"jitter": "1", "every": "60"}),
    "coverage": Page(READERS),
    "gaps": Page(READERS),
    "quarantine": Page(READERS),
    "audit": Page(AUDITORS),
    "audit-export": Page(AUDITORS),
    "audit-action": Page(AUDITORS, of="action"),
    "theme": Page(None),
    "zone": Page(READERS),
    "live": Page(READERS),
    "sign-in": Page(EVERYBODY),
    "sign-out": Page(None),
    "healthz": Page(EVERYBODY),
    "readyz": Page(EVERYBODY),
    "metrics": Page(OVERSEERS),  # it counts everything: a narrow reach sees none of it
}

# What is read through the API, and who may; commands have their own addresses there.
API_READS: dict[str, tuple[str, ...]] = {
    "list_jobs": READERS,
    "job_by_number": READERS,
    "job_by_task_id": READERS,
    "list_dead_letters": READERS,
    "dead_letter": READERS,
    "list_errors": READERS,
    "error": READERS,
    "list_queues": READERS,
    "queue": READERS,
    "list_workers": READERS,
    "worker": READERS,
    "list_schedules": READERS,
    "list_actions": AUDITORS,
    "action": AUDITORS,
    "list_bulks": READERS,
    "bulk": READERS,
    "bulk_items": READERS,
    "list_alerts": READERS,
    "alert": READERS,
    "list_rules": READERS,
    "read_stats": READERS,
    "health": READERS,
    "version": ("none", *READERS),
    "me": ("none", *READERS),
}
TOPICS = {"alerts", "overview", "jobs", "job", "schedules", "coverage", "queues", "workers"}

BARRED = {"permission", "reach", "read_only", "missing"}
WISHES = (Outgoing, Revocation, Pause, Order, Notice)


@dataclass(frozen=True)
class Things:
    """What there is to act upon, all of it in the queue `low`."""

    task: str
    job: int
    running: int
    worker: str
    worker_id: int
    action: int
    bulk: int
    trigger: int
    letter: int
    channel: int
    alert: int
    silenced_alert: int
    rule: int
    schedule: int
    error: int
    resolved_error: int

    def part(self, name: str) -> Any:
        """What stands in an address for a thing of this name."""
        return {"task_id": "failed", "queue": "low"}.get(name) or getattr(self, name)


@pytest.fixture
def things(db: None) -> Things:
    now = timezone.now()
    # One that takes no arguments, so that the forms are whole.
    task = next(name for name in own_task_names() if not why_unfit(name, [], {}))
    QueueSample.objects.create(queue="low", at=now, depth=3)
    worker = a_worker(now, "w1@h", pool_restarts=True)
    Worker.objects.filter(pk=worker.pk).update(queues="low", freq=1e6)
    failed, running = (_job(state, task, now) for state in ("failed", "running"))
    action = Action.objects.create(
        at=now,
        who="bo",
        via="page",
        command="job.retry",
        target_kind="job",
        target="failed",
        task=task,
        queue="low",
    )
    trigger = Trigger.objects.create(name="a trigger", model="auth.user", task=task)
    channel = Channel.objects.create(name="a channel")
    rule = Rule.objects.create(name="a rule", kind=Kind.DEPTH, queues="low")
    firing, silenced = (an_alert(rule, now, key, queue="low") for key in ("low", "low too"))
    Alert.objects.filter(pk=silenced.pk).update(silenced_until=now + timedelta(hours=1))
    return Things(
        task, failed.pk, running.pk, "w1@h", worker.pk, action.pk, _begun_bulk(), trigger.pk,
        _letters(failed), channel.pk, firing.pk, silenced.pk, rule.pk,
        _a_schedule(task), *_errors(task, now),
    )  # fmt: skip


def _letters(failed: Job) -> int:
    """One of a job and one of a message; the number of the first."""
    common = {"queue": "low", "since": failed.seen_at, "last_at": failed.seen_at, "task": failed.task}
    DeadLetter.objects.create(key="sha256:1", why="unreadable", raw="e30=", headers="{}", **common)
    job = DeadLetter.objects.create(key="failed", why="retries", job_id=failed.pk, task_id="failed", **common)
    return job.pk


def _errors(task: str, now: datetime) -> tuple[int, int]:
    """One that is open and one that is resolved."""
    common = {"task": task, "queue": "low", "first_at": now, "last_at": now, "times": 1}
    is_open = Error.objects.create(fingerprint="1", **common)
    return is_open.pk, Error.objects.create(fingerprint="2", status="resolved", **common).pk


def _a_schedule(task: str) -> int:
    often = IntervalSchedule.objects.create(every=60, period="seconds")
    row = PeriodicTask.objects.create(name="a schedule", task=task, queue="low", interval=often)
    return int(row.pk)


def _job(state: str, task: str, now: datetime) -> Job:
    job = Job.objects.create(
        task_id=state, task=task, queue="low", state=state, seen_at=now, started_at=now, worker="w1@h"
    )
    Payload.objects.create(job=job, args="[]", kwargs="{}", result="7", body='[[], {}, {"callbacks": null}]')
    Standing.objects.create(job=job, state=state, task=task, queue="low")
    return job


def _begun_bulk() -> int:
    """One that is no draft any more, so that others than its maker may see it."""
    action = perform(Actor(account("admin"), "page"), sample_of("bulk.preview", None))
    number = int(orjson.loads(action.after or "")["bulk"])
    Bulk.objects.filter(pk=number).update(state=BulkState.RUNNING)
    return number


def account(role: str) -> User:
    """The account of a role; it is made once."""
    user, made = User.objects.get_or_create(username=f"{role}-account")
    if made and role != "none":
        user.groups.add(Group.objects.get(name="admin" if role == "stranger" else role))
    if made and role == "stranger":
        Reach.objects.create(user=user, queues="elsewhere")
    return User.objects.get(pk=user.pk)


SAMPLES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "job.retry": lambda _: {"task_id": "failed"},
    "job.rerun": lambda _: {"task_id": "failed"},
    "job.revoke": lambda _: {"task_id": "running"},
    "job.terminate": lambda _: {"task_id": "running"},
    "dead.requeue": lambda things: {"letters": (things.letter,)},
    "dead.discard": lambda things: {"letters": (things.letter,)},
    "task.run": lambda things: {"task": things.task, "queue": "low"},
    "bulk.preview": lambda _: {"deed": "retry", "jobs": ("failed",)},
    "bulk.start": lambda things: {"bulk": things.bulk},
    "bulk.pause": lambda things: {"bulk": things.bulk},
    "bulk.resume": lambda things: {"bulk": things.bulk},
    "bulk.abort": lambda things: {"bulk": things.bulk},
    "alert.acknowledge": lambda things: {"alert": things.alert},
    "alert.silence": lambda things: {"alert": things.alert, "lasts": 60.0},
    "alert.unsilence": lambda things: {"alert": things.silenced_alert},
    "alert.note": lambda things: {"alert": things.alert, "text": "known"},
    "error.resolve": lambda things: {"error": things.error},
    "error.ignore": lambda things: {"error": things.error},
    "error.reopen": lambda things: {"error": things.resolved_error},
    "error.assign": lambda things: {"error": things.error, "who": "admin-account"},
    "error.note": lambda things: {"error": things.error, "text": "known"},
    "rule.save": lambda things: {"rule": things.rule, "note": "known"},
    "rule.enable": lambda things: {"rule": things.rule},
    "rule.disable": lambda things: {"rule": things.rule},
    "channel.test": lambda things: {"channel": things.channel},
    "queue.pause": lambda _: {"queue": "low"},
    "queue.resume": lambda _: {"queue": "low"},
    "queue.purge": lambda _: {"queue": "low"},
    "worker.shutdown": lambda things: {"worker": things.worker},
    "worker.restart-pool": lambda things: {"worker": things.worker},
    "worker.grow": lambda things: {"worker": things.worker},
    "worker.shrink": lambda things: {"worker": things.worker},
    "worker.autoscale": lambda things: {"worker": things.worker},
    "worker.add-consumer": lambda things: {"worker": things.worker},
    "worker.cancel-consumer": lambda things: {"worker": things.worker},
    "worker.events": lambda things: {"worker": things.worker},
    "task.rate-limit": lambda things: {"worker": things.worker},
    "task.time-limits": lambda things: {"worker": things.worker},
    "schedule.run": lambda things: {"schedule": things.schedule},
    "schedule.enable": lambda things: {"schedule": things.schedule},
    "schedule.disable": lambda things: {"schedule": things.schedule},
    "schedule.pause": lambda things: {"schedule": things.schedule},
    "schedule.resume": lambda things: {"schedule": things.schedule},
    "schedule.skip": lambda things: {"schedule": things.schedule},
    "schedule.edit": lambda things: {"schedule": things.schedule},
    "schedule.backfill": lambda things: {
        "schedule": things.schedule,
        "begin": datetime(2026, 11, 1, tzinfo=UTC),
        "end": datetime(2026, 11, 1, 12, tzinfo=UTC),
    },
}
# What a required field holds that a sample does not give.
FILLING: dict[str, Any] = {"queue": "low", "confirm": "low", "task": "a.task", "rate": "10/m", "on": True}


def fields_of(name: str, things: Things | None) -> dict[str, Any]:
    """The fields of a command on what there is."""
    given = SAMPLES[name](things)
    required = [
        field
        for field in dataclasses.fields(registered.commands[name])
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    return {field.name: FILLING.get(field.name, 1) for field in required} | given


def sample_of(name: str, things: Things | None) -> Command:
    command: Command = registered.commands[name](**fields_of(name, things))
    return command


def wishes() -> list[Any]:
    """What would have an effect."""
    states = list(Bulk.objects.order_by("pk").values_list("pk", "state"))
    alerts = list(Alert.objects.order_by("pk").values_list("pk", "acknowledged_by", "silenced_by", "note"))
    rules = list(Rule.objects.order_by("pk").values_list("pk", "enabled", "note", "params"))
    errors = list(Error.objects.order_by("pk").values_list("status", "assignee", "note"))
    waiting = DeadLetter.objects.filter(settled="").count()
    schedules = list(PeriodicTask.objects.order_by("pk").values_list("enabled", "interval", "policy"))
    return [*(model.objects.count() for model in WISHES), states, alerts, rules, errors, waiting, schedules]


# Nothing is forgotten


def named_addresses(resolver: URLResolver) -> Iterator[URLPattern]:
    """Every address but those of the admin and of the API."""
    for entry in resolver.url_patterns:
        if isinstance(entry, URLPattern):
            yield entry
        elif entry.app_name not in ("admin", "api"):
            yield from named_addresses(entry)


def operations() -> dict[str, str]:
    """The operations of the API: what each is called, and its address."""
    from dashboard.api.v1 import api

    return {
        operation.operation_id or operation.view_func.__name__: f"{operation.methods[0]} {path}"
        for _, router in api._routers
        for path, view in router.path_operations.items()
        for operation in view.operations
    }


def test_each_command_is_in_the_table() -> None:
    assert set(registered.commands) == set(MAY) == set(SAMPLES)


def test_each_command_has_a_page() -> None:
    assert {page.command for page in PAGES.values()} == {None, *registered.commands}


def test_each_address_is_in_the_table() -> None:
    known = {entry.name for entry in named_addresses(get_resolver()) if entry.name}
    assert known == set(PAGES)
    assert [str(entry.pattern) for entry in named_addresses(get_resolver()) if not entry.name] == [
        "admin/login/",
        "admin/password_change/",
    ]


def test_each_address_of_the_api_is_in_the_table() -> None:
    commands = {f"do_{name.replace('.', '_').replace('-', '_')}" for name in registered.commands}
    assert set(operations()) == set(API_READS) | commands


def test_each_topic_is_in_the_table() -> None:
    assert set(INTERVALS) == TOPICS


# Pages


def visitor(role: str) -> Client:
    client = Client()
    if role != "anonymous":
        client.force_login(account(role))
    return client


def address_of(name: str, things: Things) -> str:
    of = PAGES[name].of
    return reverse(name, args=[things.part(of)] if of else [])


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if page.readers is not None])
def test_pages_are_shown_to_whom_they_are_for(things: Things, name: str) -> None:
    for role in ROLES:
        response = visitor(role).get(address_of(name, things))
        assert response.status_code in _expected_of_reading(name, PAGES[name], role), role


def _expected_of_reading(name: str, page: Page, role: str) -> tuple[int, ...]:
    assert page.readers is not None
    if role in page.readers:
        if (role == "stranger" and page.of and page.of not in OF_EVERYBODY) or name == "job-result":
            return (404,)  # (this job's result is not stored apart)
        return {"live": (426,), "readyz": (200, 503), "sign-in": (200, 302)}.get(name, (200, 302))
    if role == "anonymous" and name == "metrics":
        return (401,)  # it is read by programs
    return (302,) if role == "anonymous" else (403,)


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if page.command])
def test_forms_act_for_whom_they_may(things: Things, name: str) -> None:
    page = PAGES[name]
    for role in barred_first(MAY[page.command or ""]):
        form = {"once": f"a-form-of-{role}", "reason": "to see", "task": things.task, **page.form}
        before = wishes()
        response = visitor(role).post(address_of(name, things), form)
        if role in MAY[page.command or ""]:
            assert response.status_code not in (400, 401, 403, 404), (role, response.content[:2000])
        else:
            assert response.status_code in ((302,) if role == "anonymous" else (403, 404)), role
            assert wishes() == before, role


def barred_first(may: tuple[str, ...]) -> list[str]:
    """All roles, those first that must leave things as they are."""
    return sorted(ROLES, key=lambda role: role in may)


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if page.command])
def test_a_look_at_a_form_does_nothing(things: Things, name: str) -> None:
    before = Action.objects.count(), wishes()
    visitor("admin").get(address_of(name, things))
    assert (Action.objects.count(), wishes()) == before


@pytest.mark.parametrize("role", ["none", "admin"])
def test_a_role_alone_does_not_open_the_admin(role: str) -> None:
    client = visitor(role)
    for address in addresses(get_resolver()):
        if address.startswith("/admin/") and "^" not in address and "(?P" not in address:
            last: HttpResponse = client.get(address, follow=True)  # type: ignore[assignment]
            assert last.status_code == 403 or address == "/admin/jsi18n/", address


# Commands


@pytest.mark.parametrize("name", sorted(MAY))
def test_the_one_door_lets_through_whom_it_may(things: Things, name: str) -> None:
    for role in barred_first(MAY[name]):
        if role == "anonymous":
            continue
        before = wishes()
        action = perform(Actor(account(role), "command line"), sample_of(name, things))
        if role in MAY[name]:
            assert action.refusal not in BARRED, (role, action.detail)
        else:
            assert action.refusal in BARRED, role
            assert wishes() == before, role


@pytest.mark.parametrize("name", sorted(MAY))
def test_nothing_is_let_through_while_read_only(things: Things, name: str, settings: Any) -> None:
    settings.READ_ONLY = True
    before = wishes()
    assert perform(Actor(account("admin"), "page"), sample_of(name, things)).refusal == "read_only"
    assert wishes() == before


def test_a_stranger_previews_none_of_what_is_not_theirs(things: Things) -> None:
    action = perform(Actor(account("stranger"), "page"), sample_of("bulk.preview", things))
    assert Bulk.objects.get(pk=orjson.loads(action.after or "")["bulk"]).total == 0


# API


def program(role: str) -> Program:
    return Program(None if role == "anonymous" else token_of(account(role))[0])


@pytest.mark.parametrize("name", sorted(MAY))
def test_programs_act_as_their_owners_may(things: Things, name: str) -> None:
    for role in barred_first(MAY[name]):
        before = wishes()
        answer = program(role).do(name, **fields_of(name, things))
        if role in MAY[name]:
            assert answer.status not in (401, 403, 404, 422), (role, answer.body)
        else:
            assert answer.status in ((401,) if role == "anonymous" else (403, 404)), (role, answer.body)
            assert wishes() == before, role


@pytest.mark.parametrize("name", sorted(API_READS))
def test_programs_read_as_their_owners_may(things: Things, name: str) -> None:
    method, path = operations()[name].split(" ")
    assert method == "GET"
    queue_or_worker = "low" if "queues" in path else "w1@h"
    parts = {
        "{int:job_id}": things.job, "{task_id}": "failed", "{path:name}": queue_or_worker,
        "{int:action_id}": things.action, "{int:bulk_id}": things.bulk, "{int:alert_id}": things.alert,
        "{int:letter_id}": things.letter,
        "{int:error_id}": things.error,
    }  # fmt: skip
    of_one = "{" in path and "workers" not in path
    for part, value in parts.items():
        path = path.replace(part, str(value))
    for role in ROLES:
        answer = program(role).get(path)
        if role not in API_READS[name]:
            assert answer.status in ((401,) if role == "anonymous" else (403, 404)), (role, answer.body)
        else:
            assert answer.status == (404 if role == "stranger" and of_one else 200), (role, answer.body)


def test_programs_scrape_as_their_owners_may() -> None:
    for role in ROLES:
        secret = program(role).secret
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        expected = 401 if role == "anonymous" else 200 if role in OVERSEERS else 403
        assert Client().get("/metrics", headers=headers).status_code == expected, role


# Sockets


@pytest.mark.parametrize("role", [role for role in ROLES if role != "anonymous"])
def test_sockets_show_what_their_owners_may_see(things: Things, role: str) -> None:
    client = visitor(role)
    known = scopes_of([client.session.session_key or ""])
    assert bool(known) is (role in READERS)
    for scope in known.values():
        watched = topics_asked(json.dumps({"watch": [*sorted(TOPICS - {"job"}), f"job-{things.job}"]}), scope)
        silent = {topic for topic in watched if make_frame(topic) is None}
        assert silent == ({f"job-{things.job}.{scope}"} if role == "stranger" else set())


def test_nobody_chooses_their_own_scope() -> None:
    for name in ("overview.all", "overview", "job-1.all", "jobs.s0"):
        with pytest.raises(ValueError, match="no such"):
            live.topic_named(f"{name}.x", "all")
    with pytest.raises(ValueError, match="no such"):
        topics_asked('{"watch": ["overview.all"]}', "s0")
