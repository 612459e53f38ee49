"""Many jobs at once, as one object: a set that is frozen when it is looked at, and what became of each."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from jobs.models.people import Action
from jobs.models.record import Cluster, State


class Deed(models.TextChoices):
    """What is done to each job."""

    RETRY = "retry"
    REVOKE = "revoke"


class BulkState(models.TextChoices):
    """Where a bulk stands: looked at, at work, at rest; the last three are over."""

    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    ABORTED = "aborted"
    STOPPED = "stopped"
    FINISHED = "finished"


OVER = frozenset({BulkState.ABORTED, BulkState.STOPPED, BulkState.FINISHED})


class ItemOutcome(models.TextChoices):
    """What was done about one job of a bulk: the deed, nothing for a reason, or a fault."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


class Bulk(models.Model):
    """A deed for many jobs, chosen one by one or by a filter, with its pace and how far it has come.

    `filter` is JSON, {"state", "task", "queue"}; None where they were chosen
    one by one. No job with an id above `bound` belongs to it. The set is
    gathered from the newest on, `windows` of candidates down to the id
    `looked_to`, until `frozen_at`; `capped` if there were more than it may hold.
    `asked` is the action that asked for the set, `action` the one that began.

    `rate` is jobs a second. It stops by itself when more than `stop_share` (0 to
    1) of what was retried fails again. `preview` is JSON, see
    `jobs.bulks.Preview`. `done`, `refused` and `failed` are the jobs dealt with,
    of `total`; `succeeded`, `failed_again` and `revoked` are what became of the
    jobs that were made, or revoked.
    """

    id = models.BigAutoField(primary_key=True)
    cluster = models.ForeignKey(Cluster, models.CASCADE, db_index=False, default=Cluster.DEFAULT_ID)
    deed = models.CharField(max_length=16, choices=Deed.choices)
    state = models.CharField(max_length=8, choices=BulkState.choices, default=BulkState.DRAFT)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    who = models.CharField(max_length=150)
    filter = models.TextField(null=True)
    bound = models.BigIntegerField()
    looked_to = models.BigIntegerField(null=True)
    windows = models.PositiveIntegerField(default=0)
    capped = models.BooleanField(default=False)
    preview = models.TextField(default="{}")
    reason = models.CharField(max_length=500, default="")
    rate = models.FloatField(default=50.0)
    stop_share = models.FloatField(default=0.5)
    made_at = models.DateTimeField()
    frozen_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    total = models.PositiveIntegerField(default=0)
    eligible = models.PositiveIntegerField(default=0)
    done = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    succeeded = models.PositiveIntegerField(default=0)
    failed_again = models.PositiveIntegerField(default=0)
    revoked = models.PositiveIntegerField(default=0)
    detail = models.CharField(max_length=500, default="")
    asked = models.ForeignKey(Action, models.PROTECT, null=True, related_name="previews")
    action = models.ForeignKey(Action, models.PROTECT, null=True, related_name="bulks")

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["cluster", "id"], name="nightdesk_bulk_newest"),
            models.Index(fields=["state", "id"], name="nightdesk_bulk_state"),
            models.Index(fields=["user", "id"], name="nightdesk_bulk_user"),
        ]

    def __str__(self) -> str:
        return f"{self.deed} {self.total}"

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be done."""
        return self.state in OVER

    @property
    def left(self) -> int:
        """How many jobs have not been dealt with."""
        return max(0, self.total - self.done - self.refused - self.failed)

    @property
    def changed(self) -> int:
        """How many could have been acted on when the set was frozen, and could not any more."""
        return max(0, self.refused - (self.total - self.eligible))

    @property
    def ended(self) -> int:
        """How many of the jobs that were made, or revoked, have come to their end."""
        return self.succeeded + self.failed_again + self.revoked

    @property
    def unknown(self) -> int:
        """How many of them have not, as far as is known."""
        return max(0, self.done - self.ended)

    @property
    def ended_otherwise(self) -> int:
        """How many had ended before they could be revoked."""
        return self.succeeded + self.failed_again


class BulkItem(models.Model):
    """One job of a bulk, and what became of it.

    `task_id` is the job's at the time, kept since the record may forget the
    job. `outcome` is None until it was dealt with; `detail` says why not.
    `came` is how the job that was made (`new_task_id`), or revoked, has ended.
    """

    id = models.BigAutoField(primary_key=True)
    bulk = models.ForeignKey(Bulk, models.CASCADE, db_index=False, related_name="items")
    job_id = models.BigIntegerField()
    task_id = models.CharField(max_length=255)
    outcome = models.CharField(max_length=8, choices=ItemOutcome.choices, null=True)
    detail = models.CharField(max_length=500, default="")
    new_task_id = models.CharField(max_length=255, null=True)
    came = models.CharField(max_length=12, choices=State.choices, null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["bulk", "job_id"], name="nightdesk_bulkitem_job")
        ]
        indexes: ClassVar = [
            # What is next, what has not ended yet, and what failed: each in the order of the jobs.
            models.Index(fields=["bulk", "outcome", "came", "job_id"], name="nightdesk_bulkitem_next")
        ]

    def __str__(self) -> str:
        return self.task_id
