"""What workers keep beside django-celery-results' tables."""

from __future__ import annotations

from django.db import models


class Claim(models.Model):
    """Who may run a job: see `jobs.store.claims`. One row a job, kept as long as its result.

    `attempt` counts replacements and retries (see `workers.effects`); `token`
    is that of one run; `until` and `since` are seconds since the epoch by the
    database's clock; 0 as `until` says that it was given back. `losses` counts
    those who had claimed the job and were never heard of again.
    """

    task_id = models.CharField(max_length=255, primary_key=True)
    attempt = models.BigIntegerField()
    token = models.CharField(max_length=32)
    until = models.FloatField()
    since = models.FloatField()
    done = models.BooleanField(default=False)
    losses = models.PositiveIntegerField(default=0, db_default=0)
    at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.task_id


class LargeResult(models.Model):
    """A result too large for the results' table: here, or in Django's storage under the name `file`.

    `content` is the result as the result's table would have it; `size` is its length in bytes.
    """

    task_id = models.CharField(max_length=255, primary_key=True)
    content = models.TextField(null=True)
    file = models.CharField(max_length=255, null=True)
    size = models.BigIntegerField()
    at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.task_id
