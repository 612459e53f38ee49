"""What workers answered when the monitor asked them how they are."""

from __future__ import annotations

from django.db import models

from jobs.models.record import Worker


class WorkerReport(models.Model):
    """What one incarnation of a worker said last of its pool, its tasks and its configuration.

    `told` is the JSON of `jobs.worker_report`, None until it has answered.
    """

    worker = models.OneToOneField(
        Worker, models.CASCADE, primary_key=True, db_constraint=False, related_name="report"
    )
    asked_at = models.DateTimeField(db_index=True)
    told_at = models.DateTimeField(null=True)
    told = models.TextField(null=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"report of worker {self.worker_id}"
