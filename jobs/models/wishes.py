"""What somebody wishes to be so: rows that a loop of the monitor makes true, however often it dies."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from jobs.models.people import Action
from jobs.models.record import Cluster


class Outgoing(models.Model):
    """A message that is to be published, once, when it is due; deleted when it has been.

    `body` is the exact text of Celery's message body; `headers` and
    `properties` are JSON objects. Until `claimed_until` one process has it in
    hand. `told` says that the record knows of a job that is not due yet.
    """

    id = models.BigAutoField(primary_key=True)
    cluster = models.ForeignKey(Cluster, models.CASCADE, db_index=False, default=Cluster.DEFAULT_ID)
    task_id = models.CharField(max_length=255, unique=True)
    task = models.CharField(max_length=255)
    queue = models.CharField(max_length=255)
    priority = models.SmallIntegerField(null=True)
    body = models.TextField()
    headers = models.TextField(default="{}")
    properties = models.TextField(default="{}")
    due_at = models.DateTimeField(db_index=True)
    created_at = models.DateTimeField()
    claimed_until = models.DateTimeField(null=True)
    tries = models.PositiveIntegerField(default=0)
    fault = models.CharField(max_length=500, default="")
    action = models.ForeignKey(Action, models.PROTECT, null=True, related_name="outgoing")
    told = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{self.task} {self.task_id}"


class Revocation(models.Model):
    """A job that shall not run (any more): told to each worker, now and at its start, until it has ended."""

    id = models.BigAutoField(primary_key=True)
    cluster = models.ForeignKey(Cluster, models.CASCADE, db_index=False, default=Cluster.DEFAULT_ID)
    task_id = models.CharField(max_length=255)
    terminate = models.BooleanField(default=False)
    signal = models.CharField(max_length=16, default="SIGTERM")
    asked_at = models.DateTimeField(db_index=True)
    told_at = models.DateTimeField(null=True, db_index=True)
    action = models.ForeignKey(Action, models.PROTECT, null=True, related_name="revocations")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["cluster", "task_id"], name="nightdesk_revocation_job")
        ]

    def __str__(self) -> str:
        return self.task_id


class Pause(models.Model):
    """A queue that shall not be read until somebody resumes it, or `until`.

    `held` is a JSON object: the names of the workers that would read it if they
    might, with whether each was there when the monitor last looked, at
    `looked_at`. `reading` lists those that still read it then. From
    `resumed_at` on it shall be read again; the row goes when all that were held
    do.
    """

    id = models.BigAutoField(primary_key=True)
    cluster = models.ForeignKey(Cluster, models.CASCADE, db_index=False, default=Cluster.DEFAULT_ID)
    queue = models.CharField(max_length=255)
    who = models.CharField(max_length=150)
    reason = models.CharField(max_length=500, default="")
    since = models.DateTimeField()
    until = models.DateTimeField(null=True)
    action = models.ForeignKey(Action, models.PROTECT, null=True, related_name="pauses")
    held = models.TextField(default="{}")
    reading = models.TextField(null=True)
    looked_at = models.DateTimeField(null=True)
    resumed_at = models.DateTimeField(null=True)
    resumed_by = models.ForeignKey(Action, models.PROTECT, null=True, related_name="resumed")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["cluster", "queue"], name="nightdesk_pause_queue")
        ]

    def __str__(self) -> str:
        return self.queue


class Order(models.Model):
    """One remote-control command to one worker, or to all (`worker` is None), with what it answered.

    `method` and `arguments` (JSON) are those of Celery's control commands; one
    more, `purge`, the monitor does itself. After `expires_at` it isn't sent any
    more: who asked has long looked elsewhere.
    """

    id = models.BigAutoField(primary_key=True)
    cluster = models.ForeignKey(Cluster, models.CASCADE, db_index=False, default=Cluster.DEFAULT_ID)
    action = models.ForeignKey(Action, models.PROTECT, related_name="orders")
    worker = models.CharField(max_length=255, null=True)
    method = models.CharField(max_length=40)
    arguments = models.TextField(default="{}")
    asked_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)
    answered_at = models.DateTimeField(null=True, db_index=True)
    answer = models.CharField(max_length=500, default="")
    ok = models.BooleanField(null=True)

    def __str__(self) -> str:
        return f"{self.method} {self.worker or 'all'}"
