"""Where alerts are told, and what was told."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from jobs.models.alerts import Alert


class Channel(models.Model):
    """A place where people are told of alerts."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    enabled = models.BooleanField(_("enabled"), default=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class Notice(models.Model):
    """One thing that one channel is to be told of one alert, once."""

    id = models.BigAutoField(primary_key=True)
    channel = models.ForeignKey(Channel, models.CASCADE, related_name="notices")
    alert = models.ForeignKey(Alert, models.CASCADE, related_name="notices")
    event = models.CharField(max_length=12)

    class Meta:
        constraints: ClassVar = [
            # An alert fires, is escalated, acknowledged and resolved at most once in its life.
            models.UniqueConstraint(fields=["channel", "alert", "event"], name="nightdesk_notice_once"),
        ]

    def __str__(self) -> str:
        return f"{self.channel_id} {self.event} {self.alert_id}"
