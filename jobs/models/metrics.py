"""What a scrape of Prometheus reads: numbers that only grow, counted by who writes what they count."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from jobs.models.record import Cluster


class Series(models.Model):
    """All that was ever counted of one task at one place, since there is such a row; it never falls.

    `axis` says what `place` names: "queue" or "worker"; or "wait", of all tasks
    of a queue together (then `task` is empty). `measures` is JSON, see
    `jobs.metrics.counting.Tally`. Written by the monitor, in the transaction that brings what it counts.
    """

    id = models.BigAutoField(primary_key=True)
    cluster = models.ForeignKey(
        Cluster, models.CASCADE, db_index=False, db_constraint=False, default=Cluster.DEFAULT_ID
    )
    axis = models.CharField(max_length=8)
    task = models.CharField(max_length=255)
    place = models.CharField(max_length=255)
    sent = models.BigIntegerField(default=0)
    received = models.BigIntegerField(default=0)
    started = models.BigIntegerField(default=0)
    retried = models.BigIntegerField(default=0)
    succeeded = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0)
    revoked = models.BigIntegerField(default=0)
    rejected = models.BigIntegerField(default=0)
    measures = models.TextField(default="{}")
    born_at = models.DateTimeField()
    moved_at = models.DateTimeField()

    class Meta:
        default_permissions = ()
        verbose_name_plural = "series"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["cluster", "axis", "task", "place"], name="nightdesk_series_key")
        ]

    def __str__(self) -> str:
        return f"{self.axis} {self.task} {self.place}"


class Total(models.Model):
    """How often something has happened since counting began: `name` says what, `label` of which kind."""

    id = models.BigAutoField(primary_key=True)
    cluster = models.ForeignKey(
        Cluster, models.CASCADE, db_index=False, db_constraint=False, default=Cluster.DEFAULT_ID
    )
    name = models.CharField(max_length=32)
    label = models.CharField(max_length=64, default="")
    count = models.BigIntegerField(default=0)
    born_at = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["cluster", "name", "label"], name="nightdesk_total_key")
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.label}"
