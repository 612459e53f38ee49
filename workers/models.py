"""What the result backend keeps beside django-celery-results' tables."""

from __future__ import annotations

from django.db import models


class BodyClaim(models.Model):
    """Which of the messages that carry a chord's body is the one that runs.

    After a kill at the wrong moment a body may be published again, under the
    same id; each publish has a token of its own, and the first to start wins.
    """

    task_id = models.CharField(max_length=255, primary_key=True)
    token = models.CharField(max_length=32)
    made_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        verbose_name = "chord body"
        verbose_name_plural = "chord bodies"
