"""A bulk of many jobs, whose monitor is killed midway and which is begun twice: each job is acted on once."""

from __future__ import annotations

import base64
import json
import signal
from collections import Counter
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from jobs.models import Action, Bulk, BulkItem, Outgoing, Revocation
from tests.bulks import BODY, made
from tests.harness import Installation, Process, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

JOBS = 10_000
KILLED_AT = (0.1, 0.35, 0.6)


def begin(client: Client, deed: str, state: str) -> Bulk:
    """From the list to a bulk at work, with each button pressed twice."""
    chosen = {"deed": deed, "all": "1", "state": state, "once": f"preview-{deed}"}
    addresses = {client.post("/bulk/", chosen)["Location"] for _ in range(2)}
    [address] = addresses
    bulk = Bulk.objects.get()
    eventually(lambda: Bulk.objects.get().frozen_at, 60)
    bulk.refresh_from_db()
    sure = {"rate": "500", "confirm": str(bulk.eligible), "reason": "the partner is back"}
    first, second, third = (
        client.post(f"{address}start/", {**sure, "once": once}).status_code
        for once in ("the-first-click", "the-first-click", "another-click")
    )
    assert (first, second, third) == (302, 302, 409)
    assert Action.objects.filter(command="bulk.start", refusal=None).count() == 1
    return bulk


def acted_on_under_kills(
    installation: Installation, client: Client, deed: str, state: str
) -> tuple[Bulk, Process]:
    """The finished bulk, and the last of its monitors: the ones before it were killed."""
    process = installation.monitor()
    bulk = begin(client, deed, state)
    for share in KILLED_AT:
        eventually(lambda share=share: _share(bulk) >= share, 120, process.text)  # type: ignore[misc]
        process.send(signal.SIGKILL)
        process.wait(10)
        assert _share(bulk) < 1
        process = installation.monitor()
    eventually(lambda: _share(bulk) and bulk.state == "finished", 120, process.text)
    return bulk, process


def _share(bulk: Bulk) -> float:
    bulk.refresh_from_db()
    return bulk.done / JOBS


def messages(installation: Installation, queue: str) -> list[dict[str, Any]]:
    """What waits in a queue: headers and body of each message."""
    with installation.redis.client() as client:
        keys: Any = client.keys(f"{queue}*")
        texts = [text for key in keys for text in client.lrange(key, 0, -1)]
    return [json.loads(text) for text in texts]


def test_each_job_is_retried_once(installation: Installation, client: Client, ops: User) -> None:
    jobs = made(JOBS)
    client.force_login(ops)
    bulk, last = acted_on_under_kills(installation, client, "retry", "failed")
    eventually(lambda: not Outgoing.objects.exists(), 60, last.text)
    waiting = messages(installation, "high")
    retried = Counter(message["headers"]["nightdesk_retry_of"] for message in waiting)
    assert retried == {job.task_id: 1 for job in jobs}
    assert {base64.b64decode(message["body"]).decode() for message in waiting} == {BODY}
    made_ids = set(BulkItem.objects.values_list("new_task_id", flat=True))
    assert {message["headers"]["id"] for message in waiting} == made_ids
    assert (bulk.done, bulk.refused, bulk.failed, bulk.left) == (JOBS, 0, 0, 0)
    assert bulk.action is not None
    assert (bulk.action.outcome, bulk.action.count) == ("done", JOBS)


def test_each_job_is_revoked_once(installation: Installation, client: Client, ops: User) -> None:
    jobs = made(JOBS, state="queued")
    client.force_login(ops)
    bulk, _ = acted_on_under_kills(installation, client, "revoke", "queued")
    assert bulk.done == JOBS
    asked = Revocation.objects.filter(action=bulk.action)
    assert set(asked.values_list("task_id", flat=True)) == {job.task_id for job in jobs}
