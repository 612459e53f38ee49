"""Schedules beside django-celery-beat's tables: what is wished of each, how far it is decided, its ticks."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _


class Overlap(models.TextChoices):
    """What becomes of a tick while a job of an earlier one has not ended."""

    ALLOW = "allow", _("Send it all the same")
    SKIP = "skip", _("Leave it out")
    QUEUE = "queue", _("Let one wait")


class CatchUp(models.TextChoices):
    """What becomes of ticks that Beat was away for."""

    SKIP = "skip", _("Leave them out")
    ONCE = "once", _("Send the latest")
    ALL = "all", _("Send them all")


class SchedulePolicy(models.Model):
    """What is wished of a schedule; one without a row has the defaults.

    `jitter` is in seconds: each tick is sent up to so much later. What is due
    before `paused_until` is not sent, nor what is due at `skip_due`.
    """

    schedule = models.OneToOneField(
        "django_celery_beat.PeriodicTask", models.CASCADE, primary_key=True, related_name="policy"
    )
    overlap = models.CharField(max_length=5, choices=Overlap.choices, default=Overlap.ALLOW)
    catch_up = models.CharField(max_length=4, choices=CatchUp.choices, default=CatchUp.ONCE)
    jitter = models.FloatField(default=0.0)
    paused_until = models.DateTimeField(null=True, blank=True)
    paused_by = models.CharField(max_length=150, default="", blank=True, editable=False)
    skip_due = models.DateTimeField(null=True, blank=True)
    skipped_by = models.CharField(max_length=150, default="", blank=True, editable=False)
    owner = models.CharField(max_length=150, default="", blank=True)
    note = models.CharField(max_length=500, default="", blank=True)

    class Meta:
        verbose_name_plural = "policy"

    def __str__(self) -> str:
        return f"overlap {self.overlap}, catch-up {self.catch_up}"


class Timeline(models.Model):
    """How far the ticks of a schedule are decided: each one due up to `decided_until` has its row.

    `rhythm` is the text of what it was decided by, empty while the schedule is
    switched off. `next_at` is when the next tick is to be sent, None for never.
    `queue` is where its jobs go, as far as Beat knows; empty before it has looked.
    """

    schedule = models.OneToOneField(
        "django_celery_beat.PeriodicTask", models.CASCADE, primary_key=True, related_name="timeline"
    )
    rhythm = models.CharField(max_length=700)
    decided_until = models.DateTimeField()
    next_at = models.DateTimeField(null=True, db_index=True)
    # Known to the database as well: a Beat of the version before doesn't write it.
    queue = models.CharField(max_length=255, default="", db_default="")

    def __str__(self) -> str:
        return f"{self.rhythm} until {self.decided_until}"


class Tick(models.Model):
    """One due time of a schedule, and what became of it: a job (`task_id`), or why none.

    There is one row for each schedule and due time, written in the transaction
    that puts its job into the outbox. `known_at` is when that was decided.
    `reason` is a code (`jobs.ticks.deciding.Reason`), `detail` says more. After a
    long absence a row with a `count` over 1 stands for so many ticks up to
    `until`, all of them missed, that have no row of their own.
    """

    class Outcome(models.TextChoices):
        FIRED = "fired", _("fired")
        MISSED = "missed", _("missed")
        SKIPPED = "skipped", _("skipped")
        PAUSED = "paused", _("paused")
        OVERLAPPED = "overlapped", _("overlapped")
        HELD = "held", _("held")

    id = models.BigAutoField(primary_key=True)
    # Without a constraint: what a schedule did outlives it.
    schedule = models.ForeignKey(
        "django_celery_beat.PeriodicTask",
        models.DO_NOTHING,
        related_name="ticks",
        db_index=False,
        db_constraint=False,
    )
    due = models.DateTimeField()
    outcome = models.CharField(max_length=10, choices=Outcome.choices)
    reason = models.CharField(max_length=16, default="")
    detail = models.CharField(max_length=500, default="")
    task_id = models.CharField(max_length=255, null=True)
    fired_at = models.DateTimeField(null=True)
    known_at = models.DateTimeField()
    count = models.PositiveIntegerField(default=1)
    until = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["schedule", "due"], name="nightdesk_tick_once"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["outcome", "known_at"], name="nightdesk_tick_known"),
            models.Index(
                fields=["known_at"], condition=models.Q(reason="faulty"), name="nightdesk_tick_faulty"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.schedule_id} {self.due} {self.outcome}"


class BeatLease(models.Model):
    """Which of several Beats works: `turn` grows with each sign of life, so that no clock is compared."""

    NAME = "beat"

    name = models.CharField(max_length=16, primary_key=True)
    holder = models.CharField(max_length=32, default="")
    turn = models.BigIntegerField(default=0)
    host = models.CharField(max_length=255, default="")
    pid = models.IntegerField(default=0)
    taken_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.host} {self.pid}"
