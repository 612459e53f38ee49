"""A page asks the database at most fifteen times, and as often with three hundred rows as with ten."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLResolver, get_resolver
from django_celery_beat.models import PeriodicTask

from dashboard import context
from dashboard.api import door
from jobs.allowance import Grant
from jobs.history import Memory
from jobs.models import Action, Alert, Bulk, Channel, DeadLetter, Error, Job, Rule, Trigger, Worker
from tests.api import token_of
from tests.plenty import fill

MOST = 15
FEW, MANY = range(1, 11), range(11, 301)
API = "/api/v1/"
# Django's own pages, and what Prometheus reads: test_read_flatly.py and test_scrape_metrics.py look at them.
OTHERS = ("/admin/", "/metrics")
# What stands in the place of a part of an address: the first row of a table, or a name.
ROWS: Mapping[str, Any] = {
    "job_id": Job,
    "bulk_id": Bulk,
    "error_id": Error,
    "letter_id": DeadLetter,
    "worker_id": Worker,
    "alert_id": Alert,
    "rule_id": Rule,
    "schedule_id": PeriodicTask,
    "channel_id": Channel,
    "trigger_id": Trigger,
    "action_id": Action,
}
NAMES = {
    "task_id": "task_id-1",
    "queues": "queue-1",
    "workers": "name-1",
    "tasks": "task-1",
    "workflows": "task_id-1",
}
PART = re.compile(r"<(?:\w+:)?(\w+)>")

pytestmark = pytest.mark.django_db


def addresses(resolver: URLResolver, before: str = "/") -> Iterator[str]:
    """Each address that is written as a path."""
    for entry in resolver.url_patterns:
        path = before + str(entry.pattern)
        if path.startswith(OTHERS) or "(?P" in path:
            continue
        if isinstance(entry, URLResolver):
            yield from addresses(entry, path)
        else:
            yield filled(path)


def filled(path: str) -> str:
    """The address of something that is there."""
    noun = path.removeprefix(API).strip("/").partition("/")[0]
    return PART.sub(lambda part: something(part[1], noun), path)


def something(part: str, noun: str) -> str:
    if part in ROWS:
        return str(ROWS[part]._base_manager.order_by("pk").values_list("pk", flat=True)[0])
    assert part in NAMES or noun in NAMES, f"say here what <{part}> of {noun} may be"
    return NAMES.get(part) or NAMES[noun]


def statements(get: Callable[[str], Any], paths: list[str]) -> dict[str, int]:
    """How many each address takes that a GET answers, with nothing in memory."""
    counted = {}
    for path in paths:
        vars(context.memory).update(vars(Memory()))
        with CaptureQueriesContext(connection) as captured:
            answer = get(path)
        assert answer.status_code < 500 or path == "/readyz", path
        if answer.status_code != 405:
            counted[path] = len(captured)
    return counted


def assert_few_and_flat(get: Callable[[str], Any], *, api: bool) -> None:
    fill(FEW)
    paths = [path for path in addresses(get_resolver()) if path.startswith(API) == api]
    few = statements(get, paths)
    fill(MANY)
    many = statements(get, paths)
    assert {path: (few[path], count) for path, count in many.items() if count != few[path]} == {}
    assert {path: count for path, count in many.items() if count > MOST} == {}


def test_pages_ask_seldom_whatever_there_is(client: Client, ops: User) -> None:
    client.force_login(ops)
    assert_few_and_flat(client.get, api=False)


def test_the_api_asks_seldom_whatever_there_is(
    client: Client, ops: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Requests are taken by the dozen: now and then one writes what the next ones need not.
    granted = Grant(allowed=True, limit=600, left=500, anew_in=60)
    monkeypatch.setattr(door.allowance, "spend", lambda *_: granted)
    secret, _ = token_of(ops)
    program = {"Authorization": f"Bearer {secret}"}
    client.get("/api/v1/openapi.json", headers=program)
    assert_few_and_flat(lambda path: client.get(path, headers=program), api=True)
