"""What a developer says of a job when enqueuing it, kept beside it: its key, its tags, what it is about."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Enqueued(models.Model):
    """A job with an idempotency key or with an object that it is about.

    Until `key_until` no other job of this task is enqueued under the same
    `key`. `model` is "app.model" in lower case, `object_id` its primary key.
    """

    id = models.BigAutoField(primary_key=True)
    task_id = models.CharField(max_length=255, unique=True)
    task = models.CharField(max_length=255)
    key = models.CharField(max_length=255, null=True)
    key_until = models.DateTimeField(null=True)
    model = models.CharField(max_length=201, null=True)
    object_id = models.CharField(max_length=255, null=True)
    at = models.DateTimeField(db_index=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["task", "key"], name="nightdesk_enqueued_key"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["model", "object_id", "id"], name="nightdesk_enqueued_about"),
        ]

    def __str__(self) -> str:
        return f"{self.task} {self.task_id}"


class Tag(models.Model):
    """A word that a developer has put on a job."""

    id = models.BigAutoField(primary_key=True)
    task_id = models.CharField(max_length=255, db_index=True)
    name = models.CharField(max_length=64)
    at = models.DateTimeField(db_index=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["name", "id"], name="nightdesk_tag_name")]

    def __str__(self) -> str:
        return self.name
