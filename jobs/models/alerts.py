"""What somebody wants to be told of, what was found, and the life of each finding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from jobs.models.record import Cluster
from jobs.models.visible import Visible

if TYPE_CHECKING:
    from jobs.models.notices import Channel
    from jobs.scopes import Scope

LONGEST_TIME = 30 * 86_400
SECONDS: list[Any] = [MinValueValidator(0), MaxValueValidator(LONGEST_TIME)]


class Kind(models.TextChoices):
    """What a rule looks at. Each kind's parameters are a frozen dataclass in `jobs.alerts.kinds`."""

    FAILURE_SHARE = "failure share", _("share of failures")
    FAILURE_RISE = "failure rise", _("share of failures above its own usual")
    SLOW = "slow", _("wait or run time")
    OLDEST = "oldest", _("age of the oldest waiting")
    DEPTH = "depth", _("depth of a queue")
    NO_CONSUMER = "no consumer", _("queue without a consumer")
    STALLED = "stalled", _("consumers that take nothing")
    WORKER_DEAD = "worker dead", _("worker gone with running jobs")
    MISSED_TICK = "missed tick", _("schedule that missed a tick")
    BEAT_SILENT = "beat silent", _("Beat is silent")
    NO_SUCCESS = "no success", _("task without a success for a time")
    NEW_ERROR = "new error", _("new or returned error")
    DEAD_LETTERS = "dead letters", _("dead letters")
    STREAM = "stream", _("events late or lost")


class Severity(models.TextChoices):
    """How bad it is, the worst first."""

    PAGE = "page", _("page")
    WARN = "warn", _("warning")
    INFO = "info", _("information")


class About(models.TextChoices):
    """What an alert is about; all but queue, task, schedule and error concern everybody."""

    QUEUE = "queue", _("queue")
    TASK = "task", _("task")
    SCHEDULE = "schedule", _("schedule")
    ERROR = "error", _("error")
    WORKER = "worker", _("worker")
    BEAT = "beat", _("Beat")
    RECORD = "record", _("record")


class AlertState(models.TextChoices):
    """Where an alert stands; the first two are open."""

    PENDING = "pending", _("pending")
    FIRING = "firing", _("firing")
    RESOLVED = "resolved", _("resolved")


class Rule(models.Model):
    """What is worth an alert, how long it must last, and whom it reaches.

    `params` are checked by the kind's dataclass (`jobs.alerts.kinds.read`).
    `tasks` and `queues` are patterns with `*`, by comma. A cause fires when it
    has lasted `for_seconds`, and is resolved when it has been gone for
    `resolve_seconds`. Between `quiet_from` and `quiet_until` (in `quiet_zone`)
    notices wait. After `escalate_after` seconds without an acknowledgement
    `escalation_channels` are told, too. `fault` says why it could not be
    looked at the last time. A built-in one has a `built_in` name; it is edited
    and disabled, not deleted.
    """

    name = models.CharField(_("name"), max_length=100, unique=True)
    kind = models.CharField(_("kind"), max_length=20, choices=Kind.choices)
    enabled = models.BooleanField(_("enabled"), default=True)
    params = models.JSONField(_("parameters"), default=dict, blank=True)
    tasks = models.CharField(_("tasks"), max_length=500, default="*")
    queues = models.CharField(_("queues"), max_length=500, default="*")
    team = models.ForeignKey(Group, models.SET_NULL, null=True, blank=True, verbose_name=_("team"))
    severity = models.CharField(_("severity"), max_length=8, choices=Severity.choices, default=Severity.WARN)
    for_seconds = models.FloatField(_("fires after (seconds)"), default=0, validators=SECONDS)
    resolve_seconds = models.FloatField(_("resolved after (seconds)"), default=30, validators=SECONDS)
    quiet_from = models.TimeField(_("quiet from"), null=True, blank=True)
    quiet_until = models.TimeField(_("quiet until"), null=True, blank=True)
    quiet_zone = models.CharField(_("time zone of the quiet hours"), max_length=64, default="UTC")
    channels: models.ManyToManyField[Channel, models.Model] = models.ManyToManyField(
        "Channel", blank=True, related_name="rules", verbose_name=_("channels")
    )
    escalate_after = models.FloatField(
        _("escalates after (seconds)"), null=True, blank=True, validators=SECONDS
    )
    escalation_channels: models.ManyToManyField[Channel, models.Model] = models.ManyToManyField(
        "Channel", blank=True, related_name="escalated_rules", verbose_name=_("escalates to")
    )
    runbook_url = models.URLField(_("runbook"), max_length=500, blank=True)
    note = models.CharField(_("note"), max_length=500, blank=True)
    built_in = models.CharField(max_length=40, unique=True, null=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    fault = models.CharField(max_length=500, default="", editable=False)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Raises ValidationError for what could never be looked at."""
        # The kinds know the readers of facts, which are made of models.
        from jobs.alerts import kinds

        try:
            kinds.read(self.kind, self.params)
        except kinds.Unreadable as fault:
            raise ValidationError({"params": str(fault)}) from None
        if (self.quiet_from is None) is not (self.quiet_until is None):
            raise ValidationError({"quiet_until": _("Quiet hours have a beginning and an end.")})
        try:
            kinds.zone(self.quiet_zone)
        except kinds.Unreadable as fault:
            raise ValidationError({"quiet_zone": str(fault)}) from None


class VisibleAlerts(Visible):
    """Alerts are measured by their task and queue; what concerns everybody is shown to all who may read."""

    def within(self, scope: Scope) -> VisibleAlerts:
        """What a scope shows."""
        # The measure of a row is made of the rows of Reach, which is a model, too.
        from jobs.scopes import either

        return self.filter(either([Q(about__in=FOR_ALL), scope.rows("task", "queue")]))

    def open(self) -> VisibleAlerts:
        """Those that are not resolved."""
        return self.filter(state__in=OPEN_STATES)


OPEN_STATES = (AlertState.PENDING, AlertState.FIRING)
FOR_ALL = (About.WORKER, About.BEAT, About.RECORD)


class Alert(models.Model):
    """One finding of one rule, from its cause to its end; there is one open alert for a rule and a key.

    `key` names what it is about (a queue, a task, a worker's name, "task:
    Exception", …); `task` and `queue` are what the reach of its readers is
    measured by. `since` is when the cause began, `clear_since` when it was
    last found gone while the alert has not been resolved, `last_seen` when it
    was last found. `evidence` are numbers with their names, seconds as floats,
    None for unknown; `summary` is a sentence in English for those who get text
    alone. `noticed_at` is when its channels were told that it fires: None
    while that is held back. An alert fires at most once: who returns after it
    was resolved is another one. A pending one whose cause goes is deleted.
    """

    id = models.BigAutoField(primary_key=True)
    cluster = models.ForeignKey(Cluster, models.CASCADE, db_index=False, default=Cluster.DEFAULT_ID)
    rule = models.ForeignKey(Rule, models.CASCADE, related_name="alerts")
    about = models.CharField(max_length=8, choices=About.choices)
    key = models.CharField(max_length=255)
    task = models.CharField(max_length=255, null=True)
    queue = models.CharField(max_length=255, null=True)
    severity = models.CharField(max_length=8, choices=Severity.choices)
    state = models.CharField(max_length=8, choices=AlertState.choices)
    since = models.DateTimeField()
    fired_at = models.DateTimeField(null=True)
    noticed_at = models.DateTimeField(null=True)
    escalated_at = models.DateTimeField(null=True)
    clear_since = models.DateTimeField(null=True)
    resolved_at = models.DateTimeField(null=True, db_index=True)
    last_seen = models.DateTimeField()
    flaps = models.PositiveIntegerField(default=0)
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.CharField(max_length=150, default="")
    silenced_until = models.DateTimeField(null=True)
    silenced_by = models.CharField(max_length=150, default="")
    evidence = models.JSONField(default=dict)
    summary = models.CharField(max_length=500, default="")
    note = models.CharField(max_length=500, default="")

    objects = VisibleAlerts.as_manager()

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["cluster", "rule", "key"],
                condition=Q(resolved_at__isnull=True),
                name="nightdesk_alert_open",
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["cluster", "id"], name="nightdesk_alert_newest"),
            models.Index(
                fields=["cluster", "state"],
                condition=Q(resolved_at__isnull=True),
                name="nightdesk_alert_state",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.rule_id} {self.key}"


class AlertChange(models.Model):
    """One line of an alert's history. `who` is "" for the monitor; `detail` is a text for people."""

    class What(models.TextChoices):
        PENDING = "pending", _("seen")
        FIRING = "firing", _("fires")
        NOTICED = "noticed", _("channels were told")
        RETURNED = "returned", _("came back")
        ESCALATED = "escalated", _("escalated")
        ACKNOWLEDGED = "acknowledged", _("acknowledged")
        SILENCED = "silenced", _("silenced")
        UNSILENCED = "unsilenced", _("no longer silenced")
        NOTED = "noted", _("noted")
        RESOLVED = "resolved", _("resolved")

    id = models.BigAutoField(primary_key=True)
    alert = models.ForeignKey(Alert, models.CASCADE, related_name="changes")
    at = models.DateTimeField()
    what = models.CharField(max_length=12, choices=What.choices)
    who = models.CharField(max_length=150, default="")
    detail = models.CharField(max_length=500, default="")

    class Meta:
        default_permissions = ()
        ordering: ClassVar = ["id"]

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("the history of an alert is append-only")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("the history of an alert is append-only")


class SeenError(models.Model):
    """An exception type that a task has failed with: known since when, seen when last, and when it came back.

    `returned_at` is when it was seen again after a silence of a day or more.
    """

    id = models.BigAutoField(primary_key=True)
    cluster = models.ForeignKey(Cluster, models.CASCADE, db_index=False, default=Cluster.DEFAULT_ID)
    task = models.CharField(max_length=255)
    exception = models.CharField(max_length=120)
    queue = models.CharField(max_length=255, null=True)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField(db_index=True)
    returned_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["cluster", "task", "exception"], name="nightdesk_seen_error")
        ]

    def __str__(self) -> str:
        return f"{self.task}: {self.exception}"
