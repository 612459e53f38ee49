"""What jobs have logged."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from jobs.models.record import Job
from jobs.models.visible import Visible


class LogPart(models.Model):
    """Some lines of the log of one attempt, as they came together.

    `first` is the number of the first of them in that attempt, from 0; `lines`
    is JSON, [[time, level, logger, text], …], see `jobs.log_lines`; `left_out`
    counts the lines that the cap has cut off. Written by the monitor alone.
    """

    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(Job, models.CASCADE, db_index=False, db_constraint=False, related_name="log")
    retries = models.PositiveIntegerField()
    delivery = models.BigIntegerField()
    first = models.PositiveIntegerField()
    lines = models.TextField()
    left_out = models.PositiveIntegerField(default=0)

    objects = Visible.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["job", "retries", "delivery", "first"], name="nightdesk_log_part")
        ]
