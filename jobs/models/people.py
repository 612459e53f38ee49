"""What people did, and how far they may reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models

from jobs.models.record import Cluster

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class Outcome(models.TextChoices):
    """What became of an action. The first two are open: facts will decide."""

    ASKED = "asked"
    SENT = "sent"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


OPEN_OUTCOMES = frozenset({Outcome.ASKED, Outcome.SENT})


class AppendOnly(models.QuerySet["Action"]):
    """Rows that are written once; only an open outcome may move (see `settle`)."""

    def delete(self) -> NoReturn:
        raise TypeError("the audit is append-only")

    def update(self, **changes: Any) -> int:
        if not set(changes) <= Action.MAY_MOVE:
            raise TypeError("the audit is append-only")
        return super().filter(outcome__in=OPEN_OUTCOMES)._update_open(**changes)

    def visible_to(self, user: User) -> AppendOnly:
        """What `user` may read: what is within their reach, if they may read the audit, and what they did."""
        return self.filter(self.condition_for(user))

    def condition_for(self, user: User) -> models.Q:
        """The same as a condition."""
        from jobs import access, scopes

        own = models.Q(user=user.pk)
        if not access.has(user, "view_audit"):
            return own if user.is_active else scopes.NOBODY
        return scopes.either([own, scopes.Scope(access.spans_of(user)).rows("task", "queue")])

    def _update_open(self, **changes: Any) -> int:
        return super().update(**changes)


class Action(models.Model):
    """Something that a person did, or was refused: who, when, whence, what, why, and what came of it.

    `who` is the name at that time, and outlives the account. `target` names
    one object of the kind `target_kind` ("job", "queue", "worker", "task",
    "bulk", …); `task` and `queue` are what the reach of its readers is
    measured by. `arguments`, `before` and `after` are JSON, redacted. `once`
    is the key under which the same person's repeated request is one action;
    `digest` is made of all of its arguments, to tell whether it is the same one.
    """

    MAY_MOVE: ClassVar[frozenset[str]] = frozenset(
        {"outcome", "detail", "after", "count", "settled_at", "refusal"}
    )

    id = models.BigAutoField(primary_key=True)
    cluster = models.ForeignKey(Cluster, models.PROTECT, db_index=False, default=Cluster.DEFAULT_ID)
    at = models.DateTimeField()
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    who = models.CharField(max_length=150)
    via = models.CharField(max_length=16)
    address = models.GenericIPAddressField(null=True)
    command = models.CharField(max_length=40)
    target_kind = models.CharField(max_length=16)
    target = models.CharField(max_length=255)
    task = models.CharField(max_length=255, null=True)
    queue = models.CharField(max_length=255, null=True)
    reason = models.CharField(max_length=500, default="")
    arguments = models.TextField(default="{}")
    before = models.TextField(null=True)
    after = models.TextField(null=True)
    count = models.BigIntegerField(null=True)
    outcome = models.CharField(max_length=8, choices=Outcome.choices, default=Outcome.ASKED)
    refusal = models.CharField(max_length=32, null=True)
    detail = models.CharField(max_length=500, default="")
    settled_at = models.DateTimeField(null=True)
    once = models.CharField(max_length=64, null=True)
    digest = models.CharField(max_length=64, null=True)

    objects = AppendOnly.as_manager()

    class Meta:
        default_permissions = ()
        permissions: ClassVar = [
            ("view_record", "May read jobs, queues, workers and schedules"),
            ("view_payload", "May read what jobs carry: arguments, results, tracebacks"),
            ("view_audit", "May read who did what"),
            ("view_metrics", "May read /metrics: counts of all tasks, queues and workers"),
            ("retry_job", "May retry a job, as it was or edited"),
            ("revoke_job", "May revoke a job"),
            ("terminate_job", "May end a running job by a signal"),
            ("run_task", "May run any registered task"),
            ("act_in_bulk", "May act on many jobs at once"),
            ("pause_queue", "May pause and resume a queue"),
            ("purge_queue", "May delete all messages of a queue"),
            ("tune_worker", "May change pool size, consumers, limits and events of a worker"),
            ("stop_worker", "May shut down a worker or restart its pool"),
            ("edit_schedule", "May edit schedules"),
            ("make_token", "May make tokens for the API"),
            ("handle_alert", "May handle alerts and errors: acknowledge, silence, resolve, assign, note"),
            ("edit_rule", "May edit the rules of alerts, and the channels that tell of them"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["cluster", "id"], name="nightdesk_action_newest"),
            models.Index(fields=["target_kind", "target", "id"], name="nightdesk_action_target"),
            models.Index(fields=["at", "id"], name="nightdesk_action_at"),
            models.Index(fields=["outcome", "id"], name="nightdesk_action_outcome"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "once"], name="nightdesk_action_once"),
        ]

    def __str__(self) -> str:
        return f"{self.who} {self.command} {self.target}"

    @property
    def is_open(self) -> bool:
        """Whether what came of it is still to be told by events."""
        return self.outcome in OPEN_OUTCOMES

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("the audit is append-only")


class Reach(models.Model):
    """Which queues and tasks a person or a team may see and act on: patterns with `*`, one or more, by comma.

    Whoever has no row reaches everything that their permissions allow; with
    several rows, own and of teams, one that matches is enough. Exactly one of
    `user` and `group` is set.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True)
    group = models.ForeignKey(Group, models.CASCADE, null=True, blank=True)
    queues = models.CharField(max_length=500, default="*")
    tasks = models.CharField(max_length=500, default="*")

    class Meta:
        verbose_name_plural = "reaches"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(user__isnull=True) ^ models.Q(group__isnull=True),
                name="nightdesk_reach_of_one",
                violation_error_message="A reach belongs to a person or to a team.",
            )
        ]

    def __str__(self) -> str:
        return f"{self.user or self.group}: queues {self.queues}, tasks {self.tasks}"
