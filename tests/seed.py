"""A plausible day of a shop in the record, told with a fixed die: for browser tests and screenshots."""

from __future__ import annotations

import json
import random
import uuid
from datetime import datetime, timedelta

from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from jobs.models import (
    Attempt,
    Bucket,
    Heartbeat,
    Job,
    Payload,
    Position,
    QueueSample,
    Standing,
    Worker,
    WorkerSample,
)
from jobs.rollups import COUNTS, Sketches

# task: queue, jobs an hour, run time in seconds, share that fails, how it fails
TASKS: dict[str, tuple[str, int, float, float, str]] = {
    "workers.demo.tasks.send_webhook": ("high", 16_000, 0.3, 0.003, "HTTPStatusError: 410 Gone"),
    "workers.demo.tasks.process_valuation": ("default", 14_000, 0.9, 0.002, "KeyError: 'currency'"),
    "workers.demo.tasks.sync_product": (
        "default",
        12_000,
        1.3,
        0.004,
        "IntegrityError: UNIQUE constraint failed",
    ),
    "workers.demo.tasks.generate_report": ("low", 900, 8.0, 0.01, "SoftTimeLimitExceeded()"),
    "workers.demo.tasks.cleanup_expired": ("low", 60, 2.1, 0.0, ""),
}
DAY_SHAPE = (0.7, 0.7, 0.75, 0.8, 0.9, 1.0, 1.1, 1.2, 1.25, 1.3, 1.3, 1.3, 1.25, 1.2, 1.15, 1.1, 1.05, 1.0)
TRACEBACK = """Traceback (most recent call last):
  File "celery/app/trace.py", line 479, in trace_task
    R = retval = fun(*args, **kwargs)
  File "shop/valuations/tasks.py", line 41, in process_valuation
    quote = pricing.quote(valuation, rates)
  File "shop/valuations/pricing.py", line 118, in quote
    rate = rates[line["currency"]]
KeyError: 'currency'
"""


def seed(now: datetime, *, jobs: int = 120) -> list[Job]:
    """Fill the record with the day before `now`; the jobs made, oldest first."""
    die = random.Random(241)
    _seed_buckets(now, die)
    _seed_samples(now, die)
    _seed_workers(now)
    _seed_heartbeats(now)
    _seed_schedules(now)
    made = [_seed_job(now - timedelta(seconds=2 * (jobs - number)), number, die) for number in range(jobs)]
    return [*made, _seed_retried_failure(now), _seed_running(now)]


def _seed_buckets(now: datetime, die: random.Random) -> None:
    hour, minute = int(now.timestamp() // 3600), int(now.timestamp() // 60)
    hours = [
        _bucket(Bucket.HOUR, hour - back, task, DAY_SHAPE[back % len(DAY_SHAPE)], die, hours=1)
        for back in range(2, 24)
        for task in TASKS
    ]
    minutes = [
        _bucket(Bucket.MINUTE, start, task, 0.4 if start == minute else 1.0, die, hours=1 / 60)
        for start in range(minute, (hour - 1) * 60 - 1, -1)
        for task in TASKS
    ]
    hours += _wider(Bucket.HOUR, minutes)
    Bucket.objects.bulk_create([*minutes, *hours, *_wider(Bucket.DAY, hours)])


def _wider(tier: int, parts: list[Bucket]) -> list[Bucket]:
    """Buckets of this tier that hold what these hold, as in a true record."""
    found: dict[tuple[int, str], Bucket] = {}
    for part in parts:
        start = part.start * part.tier // tier
        whole = found.setdefault(
            (start, part.task), Bucket(tier=tier, start=start, task=part.task, queue=part.queue)
        )
        for name in COUNTS:
            setattr(whole, name, getattr(whole, name) + getattr(part, name))
        sketches = Sketches.loads(whole.sketches)
        sketches.merge(Sketches.loads(part.sketches))
        whole.sketches = sketches.dumps()
    return list(found.values())


def _bucket(tier: int, start: int, task: str, part: float, die: random.Random, *, hours: float) -> Bucket:
    queue, an_hour, run, share, _ = TASKS[task]
    ended = max(0, round(an_hour * hours * part * die.uniform(0.94, 1.06)))
    failed = (
        sum(die.random() < share for _ in range(ended)) if tier == Bucket.MINUTE else round(ended * share)
    )
    sketches = Sketches()
    for _ in range(min(ended, 60)):
        sketches.at("succeeded", "total").add(run * die.lognormvariate(0, 0.5))
    return Bucket(
        tier=tier,
        start=start,
        task=task,
        queue=queue,
        published=ended,
        started=ended,
        succeeded=ended - failed,
        failed=failed,
        sketches=sketches.dumps(),
    )


def _seed_samples(now: datetime, die: random.Random) -> None:
    queues, capacity = [], []
    for back in range(60):
        at = now - timedelta(minutes=back)
        for queue, usual in (("high", 3), ("default", 9), ("low", 2)):
            depth = max(0, usual + die.randint(-3, 4))
            waited = timedelta(seconds=die.uniform(0.1, 0.4 * (depth + 1)))
            queues.append(
                QueueSample(queue=queue, at=at, depth=depth, oldest_at=at - waited if depth else None)
            )
        capacity.append(WorkerSample(at=at, online=3, known=3, busy=die.randint(3, 8), slots=10))
    QueueSample.objects.bulk_create(queues)
    WorkerSample.objects.bulk_create(capacity)


def _seed_workers(now: datetime) -> None:
    for number, (queue, slots, busy) in enumerate((("high", 4, 2), ("default", 4, 3), ("low", 2, 1)), 1):
        Worker.objects.create(
            producer=f"seeded-{number}",
            name=f"{queue}@ams-1",
            pid=4100 + number,
            queues=queue,
            slots=slots,
            busy=busy,
            processed=184_000 // number,
            version="5.7.0",
            release="9f3c1e2",
            online_at=now - timedelta(hours=7),
            seen_at=now,
        )


def _seed_heartbeats(now: datetime) -> None:
    for name in ("monitor", "beat", "broker"):
        Heartbeat.objects.create(name=name, at=now, host="ams-1", pid=4000, detail=json.dumps({"ok": True}))
    Position.objects.create(source="stream", last_id="1-0", last_event_at=now, committed_at=now, lag=0.2)


def _seed_schedules(now: datetime) -> None:
    nightly = CrontabSchedule.objects.create(minute="30", hour="2", timezone="UTC")
    often = IntervalSchedule.objects.create(every=5, period=IntervalSchedule.MINUTES)
    for name, task, rhythm in (
        ("nightly-report", "generate_report", {"crontab": nightly}),
        ("sync-catalogue", "sync_product", {"interval": often}),
    ):
        PeriodicTask.objects.create(
            name=name, task=f"workers.demo.tasks.{task}", last_run_at=now - timedelta(minutes=4), **rhythm
        )
    PeriodicTask.objects.create(
        name="partner-import", task="workers.demo.tasks.sync_product", interval=often, enabled=False
    )


def _seed_job(at: datetime, number: int, die: random.Random) -> Job:
    task = die.choice(list(TASKS))
    queue, _, run, _, fault = TASKS[task]
    failed = bool(fault) and number % 11 == 3
    wait, ran = die.uniform(0.05, 1.5), run * die.uniform(0.5, 1.8)
    job = Job.objects.create(
        task_id=str(uuid.UUID(int=die.getrandbits(128), version=4)),
        task=task,
        queue=queue,
        state="failed" if failed else "succeeded",
        attempts=1,
        priority=5,
        published_at=at - timedelta(seconds=wait + ran),
        started_at=at - timedelta(seconds=ran),
        ended_at=at,
        seen_at=at,
        wait=wait,
        run=ran,
        total=wait + ran,
        worker=f"{queue}@ams-1",
        exception=fault if failed else None,
        release="9f3c1e2",
        origin="web, POST /valuations",
    )
    Payload.objects.create(
        job=job, args="[]", kwargs=json.dumps({"order_id": 884_000 + number}), result="null"
    )
    if failed:
        Standing.objects.create(job=job, state="failed", queue=queue, task=task)
    return job


def _seed_retried_failure(now: datetime) -> Job:
    """The story's failed job: four attempts, with 5, 15 and 43 seconds between them."""
    job = _open_job(now - timedelta(seconds=80), "b7e4c1d2-58f0-4c7e-9d1b-3a60e2f9c814", "process_valuation")
    for retries, offset in enumerate((2.0, 8.4, 25.1, 69.7)):
        started = now - timedelta(seconds=80 - offset)
        Attempt.objects.create(
            job=job,
            retries=retries,
            delivery=retries,
            state="failed" if retries == 3 else "retrying",
            worker="default@ams-1",
            published_at=started - timedelta(seconds=0.9),
            received_at=started - timedelta(seconds=0.1),
            started_at=started,
            ended_at=started + timedelta(seconds=0.4),
            run=0.4,
            exception="KeyError: 'currency'",
            traceback=TRACEBACK,
        )
    ended = now - timedelta(seconds=9.9)
    facts = {
        "state": "failed",
        "retries": 3,
        "attempts": 4,
        "ended_at": ended,
        "wait": 0.9,
        "run": 0.4,
        "total": 69.0,
    }
    Job.objects.filter(pk=job.pk).update(exception="KeyError: 'currency'", started_at=started, **facts)
    Payload.objects.create(
        job=job,
        args="[]",
        kwargs=json.dumps({"valuation_id": 884213, "customer": {"id": 20117, "email": "[hidden]"}}),
        withheld="redacted",
    )
    Standing.objects.create(job=job, state="failed", queue=job.queue, task=job.task)
    job.refresh_from_db()
    return job


def _seed_running(now: datetime) -> Job:
    job = _open_job(now - timedelta(seconds=21), "77c0e1ab-0000-4000-8000-000000000001", "generate_report")
    started = now - timedelta(seconds=20)
    Job.objects.filter(pk=job.pk).update(state="running", attempts=1, started_at=started, wait=1.0)
    Attempt.objects.create(
        job=job, retries=0, delivery=1, state="running", worker="low@ams-1",
        published_at=job.published_at, received_at=started, started_at=started,
    )  # fmt: skip
    report = {"state": "RENDERING", "meta": {"current": 412, "total": 1000}, "at": now.timestamp()}
    Payload.objects.create(job=job, args="[]", kwargs='{"month": "2026-10"}', progress=json.dumps(report))
    Standing.objects.create(job=job, state="running", queue=job.queue, task=job.task)
    job.refresh_from_db()
    return job


def _open_job(at: datetime, task_id: str, task: str) -> Job:
    name = f"workers.demo.tasks.{task}"
    queue = TASKS[name][0]
    return Job.objects.create(
        task_id=task_id, task=name, queue=queue, state="queued", priority=5, published_at=at, seen_at=at,
        worker=f"{queue}@ams-1", release="9f3c1e2", origin="web, POST /valuations",
    )  # fmt: skip
