"""Errors: failures that share their cause, how often they came, and what people make of them."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from jobs.models.record import Cluster, Job
from jobs.models.visible import Visible


class ErrorStatus(models.TextChoices):
    """What people make of an error; *regressed* is told by the record: it came back after it was resolved."""

    UNRESOLVED = "unresolved", _("unresolved")
    REGRESSED = "regressed", _("regressed")
    RESOLVED = "resolved", _("resolved")
    IGNORED = "ignored", _("ignored")


class Error(models.Model):
    """Jobs of one task and queue that failed with one fingerprint (`jobs.errors.fingerprints`).

    The queue is part of it since the reach of its readers is measured by task
    and queue. `times` counts jobs, each once. `frame` is where it was raised,
    as "file:line function", "?" if unknown. An ignored error comes back at
    `ignored_until`, or when `times` is above `ignored_above`; with neither it
    stays ignored. `returned_at`: when it last came back. The counts are written by
    the monitor, the rest by people.
    """

    id = models.BigAutoField(primary_key=True)
    cluster = models.ForeignKey(Cluster, models.CASCADE, db_index=False, default=Cluster.DEFAULT_ID)
    fingerprint = models.CharField(max_length=32)
    task = models.CharField(max_length=255)
    queue = models.CharField(max_length=255)
    exception = models.CharField(max_length=120)
    message = models.CharField(max_length=300)
    frame = models.CharField(max_length=300)
    times = models.BigIntegerField(default=0)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField(db_index=True)
    first_release = models.CharField(max_length=64, null=True)
    last_release = models.CharField(max_length=64, null=True)
    last_job = models.BigIntegerField(null=True)
    status = models.CharField(max_length=12, choices=ErrorStatus.choices, default=ErrorStatus.UNRESOLVED)
    resolved_at = models.DateTimeField(null=True)
    resolved_by = models.CharField(max_length=150, default="")
    ignored_by = models.CharField(max_length=150, default="")
    ignored_until = models.DateTimeField(null=True)
    ignored_above = models.BigIntegerField(null=True)
    returned_at = models.DateTimeField(null=True)
    assignee = models.CharField(max_length=150, default="")
    note = models.CharField(max_length=500, default="")

    objects = Visible.as_manager()

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["cluster", "fingerprint", "queue"], name="nightdesk_error_key"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["cluster", "status", "last_at", "id"], name="nightdesk_error_status"),
            models.Index(fields=["cluster", "last_at", "id"], name="nightdesk_error_latest"),
            models.Index(fields=["cluster", "task", "last_at", "id"], name="nightdesk_error_task"),
            models.Index(
                fields=["ignored_until"],
                condition=models.Q(ignored_until__isnull=False),
                name="nightdesk_error_ignored",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.task}: {self.exception}"


class ErrorCount(models.Model):
    """How many jobs failed with an error in five minutes, or an hour; `start` counts whole tiers."""

    FIVE_MINUTES: ClassVar[int] = 300
    HOUR: ClassVar[int] = 3600

    id = models.BigAutoField(primary_key=True)
    error = models.ForeignKey(Error, models.CASCADE, db_index=False, db_constraint=False)
    tier = models.PositiveIntegerField()
    start = models.BigIntegerField()
    failed = models.IntegerField(default=0)

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["error", "tier", "start"], name="nightdesk_error_count"),
        ]
        indexes: ClassVar = [models.Index(fields=["tier", "start"], name="nightdesk_error_tier")]


class ErrorJob(models.Model):
    """The error that a failed job is counted in, and the moment of its end under which it is."""

    job = models.OneToOneField(
        Job, models.CASCADE, primary_key=True, db_constraint=False, related_name="error_of"
    )
    error = models.ForeignKey(Error, models.CASCADE, db_index=False, db_constraint=False)
    at = models.DateTimeField()

    objects = Visible.as_manager()

    class Meta:
        default_permissions = ()
        indexes: ClassVar = [models.Index(fields=["error", "job"], name="nightdesk_error_jobs")]


class Ungrouped(models.Model):
    """A job whose failure has come, changed or gone, and that errors have not heard of yet.

    Written in the transaction that says so of the job; `mark` is the id of the
    stream's entry up to which that is, so each commit puts rows of its own and waits for nobody.
    """

    id = models.BigAutoField(primary_key=True)
    cluster = models.ForeignKey(Cluster, models.CASCADE, db_index=False, db_constraint=False)
    job_id = models.BigIntegerField()
    mark = models.CharField(max_length=40)

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["job_id", "mark"], name="nightdesk_ungrouped_key"),
        ]
        indexes: ClassVar = [models.Index(fields=["cluster", "id"], name="nightdesk_ungrouped_order")]
