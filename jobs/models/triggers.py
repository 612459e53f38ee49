"""Rules that turn changes of Django's models into jobs, and what came of each change."""

from __future__ import annotations

from typing import ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

LONGEST_WAIT = 365 * 86_400


class Trigger(models.Model):
    """On create, update or delete of a model, under a condition: enqueue a task, in the same transaction.

    `fields` (by comma) narrows updates to those that change one of them.
    `condition` and `arguments` are in the small language of
    `jobs.triggers.language`. Delays are seconds. With `debounce`, changes of
    one object that follow each other within that time make one job, the last.
    """

    name = models.CharField(_("name"), max_length=100, unique=True)
    enabled = models.BooleanField(_("enabled"), default=True)
    model = models.CharField(_("model"), max_length=201, help_text=_("As in shop.order."))
    on_create = models.BooleanField(_("on create"), default=False)
    on_update = models.BooleanField(_("on update"), default=False)
    on_delete = models.BooleanField(_("on delete"), default=False)
    fields = models.CharField(
        _("fields"),
        max_length=500,
        blank=True,
        help_text=_("Updates count only if one of these has changed; by comma. Empty for any update."),
    )
    condition = models.CharField(
        _("condition"),
        max_length=500,
        blank=True,
        help_text=_('As in: status == "paid" and total >= 100 and old.status != "paid"'),
    )
    task = models.CharField(_("task"), max_length=255)
    arguments = models.CharField(
        _("arguments"),
        max_length=1_000,
        default='{"pk": "=pk"}',
        help_text=_("A JSON object of keyword arguments; a text that begins with = names a field."),
    )
    queue = models.CharField(_("queue"), max_length=255, blank=True, help_text=_("Empty for the task's own."))
    delay = models.FloatField(
        _("delay"), default=0, validators=[MinValueValidator(0), MaxValueValidator(LONGEST_WAIT)]
    )
    debounce = models.FloatField(
        _("debounce"), default=0, validators=[MinValueValidator(0), MaxValueValidator(LONGEST_WAIT)]
    )
    note = models.CharField(_("note"), max_length=500, blank=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Raises ValidationError for what could never fire."""
        if not (self.on_create or self.on_update or self.on_delete):
            raise ValidationError(_("Choose create, update or delete."))
        if self.fields and not self.on_update:
            raise ValidationError({"fields": _("Only updates are told apart by fields.")})


class Firing(models.Model):
    """What one trigger made of one change: a job, or why not."""

    class Outcome(models.TextChoices):
        FIRED = "fired", _("fired")
        HELD_BACK = "held back", _("held back")
        REPLACED = "replaced", _("replaced")
        FAILED = "failed", _("failed")

    id = models.BigAutoField(primary_key=True)
    # Without a constraint: other processes may fire a trigger for seconds after it was deleted.
    trigger = models.ForeignKey(
        Trigger, models.DO_NOTHING, related_name="firings", db_index=False, db_constraint=False
    )
    at = models.DateTimeField(db_index=True)
    change = models.CharField(max_length=8)
    object_id = models.CharField(max_length=255)
    outcome = models.CharField(max_length=10, choices=Outcome.choices)
    why = models.CharField(max_length=500, blank=True)
    task_id = models.CharField(max_length=255, null=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["trigger", "id"], name="nightdesk_firing_newest"),
            models.Index(fields=["trigger", "object_id", "id"], name="nightdesk_firing_object"),
        ]
