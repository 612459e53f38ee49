"""A shop on fire in the record: what the overview must tell in one screen."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from jobs.models import Action, Alert, Bucket, Gap, QueueSample, Rule, Worker
from jobs.models.alerts import Kind
from jobs.rollups import Sketches
from tests.seed import seed


def burn(now: datetime) -> None:
    """The day of `seed`, and then a release, a task that fails, a host that went."""
    seed(now)
    _lose_the_workers_of("high", now - timedelta(minutes=18))
    _fail("workers.demo.tasks.process_valuation", "default", now)
    _release("a07bb42", now - timedelta(minutes=21))
    _fire(now)
    Gap.objects.create(
        source="ams-2",
        reason="cap",
        began_at=now - timedelta(minutes=10),
        ended_at=now - timedelta(minutes=9),
        lost=310,
    )
    _act("ana", "queue.pause", "low", now - timedelta(minutes=30))


def _lose_the_workers_of(queue: str, at: datetime) -> None:
    Worker.objects.filter(queues=queue).update(seen_at=at, busy=3)
    for sample in QueueSample.objects.filter(queue=queue, at__gte=at):
        sample.depth = 270 * int((sample.at - at).total_seconds() // 60 + 1)
        sample.oldest_at = at
        sample.save()
    QueueSample.objects.filter(queue="default", at__gte=at).update(depth=400)
    for sample in QueueSample.objects.filter(queue="default", at__gte=at):
        sample.oldest_at = sample.at - timedelta(seconds=84)
        sample.save()
    Worker.objects.filter(queues="default").update(busy=4)


def _fail(task: str, queue: str, now: datetime) -> None:
    for back in range(14):
        minute = int(now.timestamp()) // 60 - back
        row: Any = Bucket.objects.filter(tier=60, start=minute, task=task).first()
        if row is None:
            row = Bucket(tier=60, start=minute, task=task, queue=queue, sketches=Sketches().dumps())
        row.failed, row.succeeded = 30, 250
        row.save()


def _release(name: str, at: datetime) -> None:
    Worker.objects.filter(queues="default").update(release=name, online_at=at)


def _fire(now: datetime) -> None:
    rules = {rule.kind: rule for rule in Rule.objects.exclude(built_in=None)}
    known: dict[str, dict[str, Any]] = {
        Kind.NO_CONSUMER: {
            "about": "queue",
            "key": "high",
            "queue": "high",
            "severity": "page",
            "evidence": {"value": 4861, "oldest": 1080.0, "readers": 0},
        },
        Kind.MISSED_TICK: {
            "about": "schedule",
            "key": "nightly-report",
            "severity": "page",
            "evidence": {"value": 2040.0, "due": (now - timedelta(minutes=34)).timestamp(), "missed": 1},
            "acknowledged_by": "ana",
            "acknowledged_at": now,
        },
        Kind.NEW_ERROR: {
            "about": "error",
            "key": "workers.demo.tasks.sync_product: IntegrityError",
            "task": "workers.demo.tasks.sync_product",
            "severity": "info",
            "evidence": {"exception": "IntegrityError", "value": 60.0},
        },
    }
    for number, (kind, told) in enumerate(known.items()):
        since = now - timedelta(minutes=17 - number)
        Alert.objects.create(
            rule=rules[Kind(kind)], state="firing", since=since, fired_at=since, last_seen=now, **told
        )


def _act(who: str, command: str, target: str, at: datetime) -> None:
    Action.objects.create(
        at=at, who=who, via="page", command=command, target_kind="queue", target=target, outcome="done"
    )
