"""What has come to nothing and waits for somebody to look at it."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from jobs.models.people import Action
from jobs.models.record import Cluster
from jobs.models.visible import Visible


class Death(models.TextChoices):
    """Why it came to nothing (see `jobs.deaths`)."""

    RETRIES = "retries", _("Out of retries")
    UNKNOWN = "unknown", _("Unknown task")
    UNREADABLE = "unreadable", _("Unreadable")
    POISON = "poison", _("Killed workers")


class Settled(models.TextChoices):
    """What became of it; a job may come back to life by itself, by a second delivery."""

    OPEN = "", _("open")
    REQUEUED = "requeued", _("requeued")
    DISCARDED = "discarded", _("discarded")
    REVIVED = "revived", _("revived")


class DeadLetter(models.Model):
    """A job that nobody will run again by itself, or a message that no worker could read.

    `key` is a job's task id, or "sha256:" and the digest of a message and its
    queue. A job's body is its Payload's, by `job_id`; a message's is `raw`
    (base64), with what is needed to send it again: `headers` (JSON),
    `content_type`, `content_encoding`; `withheld` says why there is none.
    `shown` is what people see of it, cleaned. `times` counts a job's attempts,
    or how often the same message came; `since` and `last_at` are the first and
    the last time. Written by the monitor, but for what settles it: `settled`,
    by `action`, which has made the job `new_task_id`.
    """

    id = models.BigAutoField(primary_key=True)
    cluster = models.ForeignKey(
        Cluster, models.CASCADE, db_index=False, db_constraint=False, default=Cluster.DEFAULT_ID
    )
    key = models.CharField(max_length=255)
    why = models.CharField(max_length=12, choices=Death.choices)
    job_id = models.BigIntegerField(null=True)
    task_id = models.CharField(max_length=255, null=True)
    task = models.CharField(max_length=255, null=True)
    queue = models.CharField(max_length=255, null=True)
    exception = models.CharField(max_length=500, null=True)
    times = models.BigIntegerField(default=1)
    since = models.DateTimeField()
    last_at = models.DateTimeField(db_index=True)
    settled = models.CharField(max_length=12, choices=Settled.choices, default=Settled.OPEN)
    settled_at = models.DateTimeField(null=True)
    action = models.ForeignKey(Action, models.PROTECT, null=True, related_name="letters")
    new_task_id = models.CharField(max_length=255, null=True)
    priority = models.SmallIntegerField(null=True)
    content_type = models.CharField(max_length=255, null=True)
    content_encoding = models.CharField(max_length=255, null=True)
    headers = models.TextField(null=True)
    raw = models.TextField(null=True)
    size = models.BigIntegerField(null=True)
    shown = models.TextField(null=True)
    withheld = models.CharField(max_length=16, null=True)

    objects = Visible.as_manager()

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["cluster", "key"], name="nightdesk_dead_key"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["cluster", "settled", "id"], name="nightdesk_dead_settled"),
            models.Index(fields=["cluster", "settled", "why", "id"], name="nightdesk_dead_why"),
            models.Index(fields=["cluster", "settled", "task", "id"], name="nightdesk_dead_task"),
            models.Index(fields=["cluster", "settled", "queue", "id"], name="nightdesk_dead_queue"),
            # Counted by the rules of alerts, every few seconds.
            models.Index(fields=["cluster", "settled", "task", "queue"], name="nightdesk_dead_counts"),
            models.Index(
                fields=["job_id"], condition=models.Q(job_id__isnull=False), name="nightdesk_dead_job"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.why} {self.key}"

    @property
    def is_open(self) -> bool:
        """Whether it still waits for somebody."""
        return self.settled == Settled.OPEN

    @property
    def is_a_job(self) -> bool:
        """Whether the record has it as a job; else it is a message alone."""
        return self.job_id is not None
