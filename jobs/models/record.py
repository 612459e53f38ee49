"""The record: what was asked, done and failed.

One process writes these tables, the monitor, in one transaction with its
position in the event stream (`jobs.store`). Everybody else reads, through
`visible_to`. Durations are seconds as floats; times are aware UTC; `None` is
"not known".

What the monitor writes by thousands has no foreign keys in the database: its
one writer knows what belongs together, and PostgreSQL would look up and lock
the other row for each of them.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from jobs.models.lineage import LINEAGE
from jobs.models.visible import Visible


class State(models.TextChoices):
    """A job's state, in Celery's words."""

    QUEUED = "queued"
    SCHEDULED = "scheduled"
    RECEIVED = "received"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REVOKED = "revoked"
    REJECTED = "rejected"


ENDED = frozenset({State.SUCCEEDED, State.FAILED, State.REVOKED, State.REJECTED})


class Cluster(models.Model):
    """One broker's worth of workers. The default one exists from the first migration."""

    DEFAULT_ID: ClassVar[int] = 1
    name = models.CharField(max_length=64, unique=True)

    def __str__(self) -> str:
        return self.name


class Job(models.Model):
    """One request to run a task: Celery's task id, and where it stands.

    `state`, `retries`, `delivery` and `rank` are those of the attempt that decides (`jobs.lifecycle`);
    `ended_minute` is the minute since the epoch in whose buckets the job's end is counted.
    """

    id = models.BigAutoField(primary_key=True)
    cluster = models.ForeignKey(
        Cluster, models.CASCADE, db_index=False, db_constraint=False, default=Cluster.DEFAULT_ID
    )
    task_id = models.CharField(max_length=255)
    task = models.CharField(max_length=255, null=True)
    queue = models.CharField(max_length=255, null=True)
    state = models.CharField(max_length=12, choices=State.choices)
    verdict = models.CharField(max_length=16, null=True)
    retries = models.PositiveIntegerField(default=0)
    delivery = models.BigIntegerField(default=0)
    rank = models.PositiveSmallIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    published_retries = models.PositiveIntegerField(null=True)
    priority = models.SmallIntegerField(null=True)
    published_at = models.DateTimeField(null=True)
    eta = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    received_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    ended_minute = models.BigIntegerField(null=True)
    seen_at = models.DateTimeField()
    wait = models.FloatField(null=True)
    run = models.FloatField(null=True)
    total = models.FloatField(null=True)
    worker = models.CharField(max_length=255, null=True)
    exception = models.CharField(max_length=500, null=True)
    root_id = models.CharField(max_length=255, null=True)
    parent_id = models.CharField(max_length=255, null=True)
    group_id = models.CharField(max_length=255, null=True)
    retry_of = models.CharField(max_length=255, null=True)
    schedule = models.CharField(max_length=200, null=True)
    origin = models.CharField(max_length=255, null=True)
    release = models.CharField(max_length=64, null=True)

    objects = Visible.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["cluster", "task_id"], name="nightdesk_job_task_id")]
        # No index on a column that changes, or no update of PostgreSQL is HOT.
        indexes = [
            models.Index(fields=["cluster", "id"], name="nightdesk_job_newest"),
            models.Index(fields=["cluster", "task", "id"], name="nightdesk_job_task"),
            models.Index(fields=["cluster", "queue", "id"], name="nightdesk_job_queue"),
            *LINEAGE,
        ]

    def __str__(self) -> str:
        return f"{self.task or '?'} {self.task_id}"


class Standing(models.Model):
    """One narrow row for each job that is open or ended badly; success deletes it.

    Lists by state read this table, so that no index on Job covers a column
    that changes.
    """

    job = models.OneToOneField(
        Job, models.CASCADE, primary_key=True, db_constraint=False, related_name="standing"
    )
    cluster = models.ForeignKey(
        Cluster, models.CASCADE, db_index=False, db_constraint=False, default=Cluster.DEFAULT_ID
    )
    state = models.CharField(max_length=12, choices=State.choices)
    queue = models.CharField(max_length=255, null=True)
    task = models.CharField(max_length=255, null=True)

    objects = Visible.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["cluster", "state", "job"], name="nightdesk_standing_state"),
            models.Index(fields=["cluster", "queue", "state", "job"], name="nightdesk_standing_queue"),
            models.Index(fields=["cluster", "task", "state", "job"], name="nightdesk_standing_task"),
        ]


class Attempt(models.Model):
    """One execution of a job: a receipt by a worker, and what came of it.

    `delivery` is the moment of receipt in microseconds of the stream's clock;
    it tells two deliveries of the same message apart. `wait` runs from this
    attempt's publish (or its eta) to its start. A duplicate ran nothing, since
    another message of the same job had been claimed before.
    """

    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(Job, models.CASCADE, db_index=False, db_constraint=False, related_name="timeline")
    retries = models.PositiveIntegerField()
    delivery = models.BigIntegerField()
    state = models.CharField(max_length=12, choices=[*State.choices, ("duplicate", "Duplicate")])
    rank = models.PositiveSmallIntegerField(default=0)
    worker = models.CharField(max_length=255, null=True)
    published_at = models.DateTimeField(null=True)
    eta = models.DateTimeField(null=True)
    received_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    run = models.FloatField(null=True)
    exception = models.CharField(max_length=500, null=True)
    traceback = models.TextField(null=True)

    objects = Visible.as_manager()

    class Meta:
        ordering = ["retries", "delivery"]
        constraints = [
            models.UniqueConstraint(fields=["job", "retries", "delivery"], name="nightdesk_attempt_of_job")
        ]

    @property
    def ran(self) -> float | None:
        """Seconds that it ran: as its worker measured, else from its start to its end."""
        if self.run is not None or self.started_at is None or self.ended_at is None:
            return self.run
        return max(0.0, (self.ended_at - self.started_at).total_seconds())

    @property
    def wait(self) -> float | None:
        """Seconds from this attempt's publish (or eta) to its start."""
        if self.started_at is None or self.published_at is None:
            return None
        ready = max(self.published_at, self.eta) if self.eta else self.published_at
        return max(0.0, (self.started_at - ready).total_seconds())


class Payload(models.Model):
    """What a job carries: redacted, capped, kept apart from Job so that lists stay narrow.

    `body` is the exact message body as published, kept only where redaction found nothing in it; `withheld`
    says why it is missing: "redacted", "too large" or "not captured". All four are from the publish of the
    highest `retries`. `result` is from the highest attempt that succeeded. `progress` is JSON,
    {"state", "meta", "at"}: the latest by its time, `progress_at`.
    """

    job = models.OneToOneField(
        Job, models.CASCADE, primary_key=True, db_constraint=False, related_name="payload"
    )
    args = models.TextField(null=True)
    kwargs = models.TextField(null=True)
    body = models.TextField(null=True)
    withheld = models.CharField(max_length=16, null=True)
    retries = models.BigIntegerField(null=True)
    result = models.TextField(null=True)
    progress = models.TextField(null=True)
    progress_at = models.DateTimeField(null=True)

    objects = Visible.as_manager()

    class Meta:
        default_permissions = ()  # one of Django's has the name of ours: view_payload


class Bucket(models.Model):
    """Counts and latency sketches of one minute, hour or day (in UTC) x task x queue.

    `tier` is the width in seconds: 60, 3600 or 86400; `start` counts whole tiers
    since the epoch. Ends are counted once a job, in the minute of its
    completion. `sketches` is JSON, see `jobs.rollups.Sketches`.
    """

    MINUTE: ClassVar[int] = 60
    HOUR: ClassVar[int] = 3600
    DAY: ClassVar[int] = 86_400

    id = models.BigAutoField(primary_key=True)
    cluster = models.ForeignKey(
        Cluster, models.CASCADE, db_index=False, db_constraint=False, default=Cluster.DEFAULT_ID
    )
    tier = models.PositiveIntegerField()
    start = models.BigIntegerField()
    task = models.CharField(max_length=255)
    queue = models.CharField(max_length=255)
    published = models.IntegerField(default=0)
    started = models.IntegerField(default=0)
    retried = models.IntegerField(default=0)
    succeeded = models.IntegerField(default=0)
    failed = models.IntegerField(default=0)
    revoked = models.IntegerField(default=0)
    rejected = models.IntegerField(default=0)
    sketches = models.TextField(default="{}")

    objects = Visible.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["cluster", "tier", "start", "task", "queue"], name="nightdesk_bucket_key"
            )
        ]


class Position(models.Model):
    """How far the record has read a source: moved by compare-and-set with the rows it brought."""

    cluster = models.ForeignKey(Cluster, models.CASCADE, default=Cluster.DEFAULT_ID)
    source = models.CharField(max_length=64)
    last_id = models.CharField(max_length=40, default="0-0")
    last_event_at = models.DateTimeField(null=True)
    committed_at = models.DateTimeField(null=True)
    lag = models.FloatField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cluster", "source"], name="nightdesk_position_source")
        ]


class Producer(models.Model):
    """One process that writes events, and the last sequence number recorded from it."""

    id = models.CharField(max_length=64, primary_key=True)
    cluster = models.ForeignKey(Cluster, models.CASCADE, db_index=False, default=Cluster.DEFAULT_ID)
    last_seq = models.BigIntegerField(default=0)
    lost = models.BigIntegerField(default=0)
    seen_at = models.DateTimeField(db_index=True)


class Gap(models.Model):
    """A span in which events are known to be missing. `lost` is None where it can't be counted."""

    cluster = models.ForeignKey(Cluster, models.CASCADE, db_index=False, default=Cluster.DEFAULT_ID)
    source = models.CharField(max_length=64)
    reason = models.CharField(max_length=32)
    began_at = models.DateTimeField()
    ended_at = models.DateTimeField(db_index=True)
    lost = models.BigIntegerField(null=True)

    objects = Visible.as_manager()


class Quarantine(models.Model):
    """Events that could not be read: counted by reason, with the last one as a sample."""

    cluster = models.ForeignKey(Cluster, models.CASCADE, db_index=False, default=Cluster.DEFAULT_ID)
    reason = models.CharField(max_length=64)
    count = models.BigIntegerField(default=0)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    sample = models.TextField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cluster", "reason"], name="nightdesk_quarantine_reason")
        ]


class Worker(models.Model):
    """One incarnation of a worker process: host, pid and boot.

    `producer` is unique for each start of a process, so it is the boot.
    `setup` is JSON, see `jobs.worker_facts.Setup`. `events` says whether it
    sends events of its jobs; `held` are the queues that it found paused and
    does not read for that alone. The rest its recorder has counted since its
    start: messages received, those without a publish stamp, the recorder's own
    faults, and events it had to drop.
    """

    id = models.BigAutoField(primary_key=True)
    cluster = models.ForeignKey(Cluster, models.CASCADE, db_index=False, default=Cluster.DEFAULT_ID)
    producer = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=255)
    pid = models.IntegerField(null=True)
    queues = models.CharField(max_length=500, null=True)
    slots = models.PositiveIntegerField(null=True)
    busy = models.PositiveIntegerField(null=True)
    processed = models.BigIntegerField(null=True)
    load = models.FloatField(null=True)
    version = models.CharField(max_length=64, null=True)
    release = models.CharField(max_length=64, null=True)
    freq = models.FloatField(default=2.0)
    online_at = models.DateTimeField(null=True)
    seen_at = models.DateTimeField(db_index=True)
    offline_at = models.DateTimeField(null=True)
    setup = models.TextField(null=True)
    events = models.BooleanField(null=True)
    received = models.BigIntegerField(null=True)
    unstamped = models.BigIntegerField(null=True)
    faults = models.BigIntegerField(null=True)
    dropped = models.BigIntegerField(null=True)
    held = models.CharField(max_length=500, null=True)

    objects = Visible.as_manager()

    def __str__(self) -> str:
        return self.name


class QueueSample(models.Model):
    """How a queue stood at one moment, as its broker told: the history of depth and age.

    `oldest_at` is when the oldest waiting message was published, `priorities` a JSON object, how many wait of
    each; None if nothing waits (see `depth`) or it isn't told."""

    cluster = models.ForeignKey(Cluster, models.CASCADE, db_index=False, default=Cluster.DEFAULT_ID)
    queue = models.CharField(max_length=255)
    at = models.DateTimeField(db_index=True)
    depth = models.BigIntegerField(null=True)
    unacked = models.BigIntegerField(null=True)
    oldest_at = models.DateTimeField(null=True)
    priorities = models.TextField(null=True)

    objects = Visible.as_manager()

    class Meta:
        constraints = [
            # In the order of its readers: all queues of the last minutes.
            models.UniqueConstraint(fields=["cluster", "at", "queue"], name="nightdesk_queue_sample")
        ]


class WorkerSample(models.Model):
    """How the workers stood at one moment: the history of capacity. `each` is that of jobs.fleet."""

    cluster = models.ForeignKey(Cluster, models.CASCADE, db_index=False, default=Cluster.DEFAULT_ID)
    at = models.DateTimeField()
    online = models.PositiveIntegerField()
    known = models.PositiveIntegerField()
    busy = models.PositiveIntegerField(null=True)
    slots = models.PositiveIntegerField(null=True)
    each = models.TextField(null=True)
    objects = Visible.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["cluster", "at"], name="nightdesk_worker_sample")]


class Heartbeat(models.Model):
    """The last sign of life of a process that must be there: beat, monitor, broker.

    `detail` is JSON for people and for /readyz.
    """

    name = models.CharField(max_length=32, primary_key=True)
    at = models.DateTimeField()
    host = models.CharField(max_length=255)
    pid = models.IntegerField()
    detail = models.TextField(default="{}")
