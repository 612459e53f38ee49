"""Where alerts are told, and what was told."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth.models import Group
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from jobs.models.alerts import Alert
from jobs.models.people import Action


class ChannelKind(models.TextChoices):
    """How a channel is reached."""

    EMAIL = "email", _("e-mail")
    WEBHOOK = "webhook", _("signed webhook")
    APPRISE = "apprise", _("chat, pager and others (apprise)")


class Channel(models.Model):
    """A place where people are told of alerts.

    `sealed` is its address, encrypted (`jobs.sealing`); `shown` is as much of it as anybody gets to see.
    `signed_with` names the secret in WEBHOOK_SECRETS that signs a webhook. A `default` one is told of what
    rules find that name no channel: all of them, or those of its team, which can't be deleted before it:
    without one it would be told of everything. `failing_since` is when its first delivery failed after
    the last one that went well.
    """

    name = models.CharField(_("name"), max_length=100, unique=True)
    kind = models.CharField(_("kind"), max_length=8, choices=ChannelKind.choices, default=ChannelKind.EMAIL)
    enabled = models.BooleanField(_("enabled"), default=True)
    default = models.BooleanField(
        _("default"), default=False, help_text=_("Is told of what rules find that name no channel.")
    )
    team = models.ForeignKey(
        Group,
        models.PROTECT,
        null=True,
        blank=True,
        verbose_name=_("team"),
        help_text=_("As a default, only for the rules of this team."),
    )
    sealed = models.TextField(default="", editable=False)
    shown = models.CharField(max_length=200, default="", editable=False)
    signed_with = models.CharField(
        _("signed with"),
        max_length=64,
        default="default",
        blank=True,
        help_text=_("For a webhook: the name of a secret in WEBHOOK_SECRETS."),
    )
    delivered_at = models.DateTimeField(null=True, editable=False)
    failing_since = models.DateTimeField(null=True, editable=False)
    last_error = models.CharField(max_length=500, default="", editable=False)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class Notice(models.Model):
    """One thing that one channel is to be told, once: of one alert, or, with an `action`, as a test.

    `facts` is what was true then, as JSON. Notices of one `parcel` go in one message, the same at each
    attempt. `began_at` is when the attempt on its way began, None without one. It is `unsure` if an earlier
    attempt may have arrived. It waits until it is delivered, or given up.
    """

    id = models.BigAutoField(primary_key=True)
    channel = models.ForeignKey(Channel, models.CASCADE, related_name="notices", db_index=False)
    alert = models.ForeignKey(Alert, models.CASCADE, null=True, related_name="notices")
    action = models.ForeignKey(Action, models.PROTECT, null=True, related_name="notices")
    event = models.CharField(max_length=12)
    facts = models.JSONField(default=dict)
    at = models.DateTimeField(db_index=True)
    parcel = models.CharField(max_length=32, null=True, db_index=True)
    attempts = models.PositiveIntegerField(default=0)
    next_try = models.DateTimeField()
    began_at = models.DateTimeField(null=True)
    unsure = models.BooleanField(default=False)
    delivered_at = models.DateTimeField(null=True)
    given_up_at = models.DateTimeField(null=True)
    last_error = models.CharField(max_length=500, default="")

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            # An alert fires, is escalated, acknowledged and resolved at most once in its life.
            models.UniqueConstraint(fields=["channel", "alert", "event"], name="nightdesk_notice_once"),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["channel", "next_try"],
                condition=Q(delivered_at__isnull=True, given_up_at__isnull=True),
                name="nightdesk_notice_waits",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.channel_id} {self.event} {self.alert_id}"
