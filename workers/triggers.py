"""Fires triggers: Django's signals of saved and deleted objects → a job in the same transaction.

What Django doesn't signal fires nothing: `QuerySet.update`, `bulk_create`,
`bulk_update`, raw SQL, and cascades of the database. Outside of `atomic()`
Django signals a save once it is committed: the job then has a transaction of its own.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import celery.signals
import structlog
from django.apps import apps
from django.conf import settings
from django.core.signals import request_started
from django.db import DatabaseError, connections, models, router, transaction
from django.db.backends.signals import connection_created
from django.db.models import Q
from django.db.models.signals import post_delete, post_save, pre_save

from jobs.models import Firing, Outgoing, Trigger
from jobs.triggers.deciding import Change, Decision, Rule, decide, model_named, rule_of, values_of
from jobs.triggers.language import Unreadable
from workers.enqueuable import EnqueueError, known_task, nearest
from workers.enqueue import EnqueuedJob, Options

logger = structlog.get_logger(__name__)

# An edit of a trigger is in effect after this long, in every process.
KNOWN_FOR = 2.0
BEFORE = "_nightdesk_before"
DELETES = "nightdesk.triggers.deleted"
# Which of its changes a trigger is rehearsed with.
LIKELIEST: tuple[Change, ...] = ("update", "create", "delete")
OURS = frozenset({"nightdesk_jobs", "nightdesk_workers", "sessions", "admin", "django_celery_results"})


class Rules:
    """The enabled triggers by model, as they were at most KNOWN_FOR seconds ago."""

    def __init__(self) -> None:
        self.known_until = 0.0
        self._by_model: dict[str, list[Rule]] = {}
        self._deletes: set[str] = set()

    def of(self, model: type[models.Model], change: str) -> list[Rule]:
        """The rules for one kind of change of a model."""
        # Migrations save objects of models of their own, before there are triggers.
        if model._meta.app_label in OURS or model._meta.apps is not apps:
            return []
        self.refresh()
        found = self._by_model.get(model._meta.label_lower, [])
        return [rule for rule in found if change in rule.changes]

    def refresh(self) -> None:
        """Read them again if it is time, and listen to deletes where one asks for them."""
        if time.monotonic() < self.known_until:
            return
        self._take(_read())
        self.known_until = time.monotonic() + KNOWN_FOR

    def _take(self, by_model: dict[str, list[Rule]]) -> None:
        wanted = {label for label, found in by_model.items() for rule in found if "delete" in rule.changes}
        for label in wanted - self._deletes:
            post_delete.connect(deleted, sender=apps.get_model(label), dispatch_uid=DELETES)
        for label in self._deletes - wanted:
            post_delete.disconnect(sender=apps.get_model(label), dispatch_uid=DELETES)
        self._by_model, self._deletes = by_model, wanted

    def forget(self) -> None:
        """Know none, and read them again with the next change."""
        self._take({})
        self.known_until = 0.0


rules = Rules()


def _read() -> dict[str, list[Rule]]:
    by_model: dict[str, list[Rule]] = {}
    for trigger in Trigger.objects.filter(enabled=True):
        try:
            by_model.setdefault(trigger.model.lower(), []).append(rule_of(trigger))
        except Unreadable as fault:
            logger.warning("a trigger can't be read, and fires nothing: %s", fault, trigger=trigger.name)
    return by_model


def connect() -> None:
    """Listen to each saved object, and to the deleted ones of models that have a trigger for it.

    Django deletes row by row wherever somebody listens. So the rules must be
    known before a delete: as a connection opens, and as work begins on an open one.
    """
    pre_save.connect(remember, dispatch_uid="nightdesk.triggers.before")
    post_save.connect(saved, dispatch_uid="nightdesk.triggers.saved")
    connection_created.connect(look_up, dispatch_uid="nightdesk.triggers.connected")
    request_started.connect(look_up, dispatch_uid="nightdesk.triggers.request")
    celery.signals.task_prerun.connect(look_up, dispatch_uid="nightdesk.triggers.task")


def look_up(connection: Any = None, **_: Any) -> None:
    """A connection has opened, a request or a job begins: see which deletes to listen to."""
    alias = router.db_for_read(Trigger)
    if (connection is None or connection.alias == alias) and connections[alias].connection is not None:
        try:
            rules.refresh()
        except DatabaseError:  # not migrated yet, or away: a save says so
            logger.debug("triggers can't be read now", exc_info=True)


def remember(
    sender: type[models.Model],
    instance: models.Model,
    using: str,
    raw: bool = False,
    update_fields: Collection[str] | None = None,
    **_: Any,
) -> None:
    """Keep how the object was, where a trigger asks for it or not all is written: one more statement."""
    if raw or instance._state.adding:
        return
    partly = update_fields is not None or bool(instance.get_deferred_fields())
    if not any(partly or rule.asks_before for rule in rules.of(sender, "update")):
        return
    rows = sender._base_manager.using(using).filter(pk=instance.pk)
    if connections[using].in_atomic_block:  # nobody else changes it between this look and the save
        rows = rows.select_for_update(no_key=True)
    stored = rows.first()
    setattr(instance, BEFORE, None if stored is None else values_of(stored))


def saved(
    sender: type[models.Model],
    instance: models.Model,
    created: bool,
    raw: bool = False,
    update_fields: Collection[str] | None = None,
    **_: Any,
) -> None:
    """An object was saved; `raw` is a fixture being loaded, which fires nothing."""
    before = instance.__dict__.pop(BEFORE, None)
    change: Change = "create" if created else "update"
    if not raw and (found := rules.of(sender, change)):
        now = {**(before or {}), **values_of(instance, update_fields)}
        _fire(found, change, instance, now, before)


def deleted(sender: type[models.Model], instance: models.Model, **_: Any) -> None:
    """An object was deleted."""
    if found := rules.of(sender, "delete"):
        _fire(found, "delete", instance, values_of(instance), None)


def _fire(
    found: Sequence[Rule],
    change: Change,
    instance: models.Model,
    now: Mapping[str, Any],
    before: Mapping[str, Any] | None,
) -> None:
    for rule in found:
        Firing.objects.create(
            trigger_id=rule.id,
            at=datetime.now(UTC),
            change=change,
            object_id=str(instance.pk),
            **_outcome(rule, change, instance, now, before),
        )


def _outcome(
    rule: Rule,
    change: Change,
    instance: models.Model,
    now: Mapping[str, Any],
    before: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What is written down of a firing. A trigger that is at fault never breaks the save."""
    try:
        decision = decide(rule, change, now, before)
        if not decision.fires:
            return {"outcome": Firing.Outcome.HELD_BACK, "why": decision.why[:500]}
        job = _enqueued(rule, decision, instance)
    except (Unreadable, EnqueueError) as fault:
        return {"outcome": Firing.Outcome.FAILED, "why": str(fault)[:500]}
    return {"outcome": Firing.Outcome.FIRED, "task_id": job.id}


def _enqueued(rule: Rule, decision: Decision, instance: models.Model) -> EnqueuedJob:
    wait = rule.delay
    with transaction.atomic():
        if rule.debounce:
            _withdraw(rule, str(instance.pk))
            wait = max(wait, rule.debounce)
        options = Options(
            queue=rule.queue,
            delay=timedelta(seconds=wait) if wait else None,
            about=instance if instance.pk is not None else None,
            withdrawable=bool(rule.debounce),
        )
        return options.enqueue(rule.task, **(decision.arguments or {}))


def _withdraw(rule: Rule, object_id: str) -> None:
    """Take back the job of this object's last change, if nobody has it in hand yet."""
    last = Firing.objects.filter(trigger=rule.id, object_id=object_id, outcome=Firing.Outcome.FIRED)
    firing = last.order_by("-id").first()
    if firing is None:
        return
    free = Q(claimed_until=None) | Q(claimed_until__lt=datetime.now(UTC))
    gone, _ = Outgoing.objects.filter(free, task_id=firing.task_id, due_at__gt=datetime.now(UTC)).delete()
    if gone:
        Firing.objects.filter(pk=firing.pk).update(outcome=Firing.Outcome.REPLACED)


def faults(trigger: Trigger) -> dict[str, str]:
    """Why this trigger could never fire, by field; empty if it can."""
    try:
        rule = rule_of(trigger)
    except Unreadable as fault:
        return {_field_at_fault(trigger): str(fault)}
    if rule.queue is not None and rule.queue not in settings.QUEUES:
        return {"queue": f"there is no queue {rule.queue!r}{nearest(rule.queue, settings.QUEUES)}"}
    try:
        task = known_task(rule.task)
    except EnqueueError as fault:
        return {"task": str(fault)}
    try:
        task.__header__(**rule.arguments)
    except TypeError as fault:
        return {"arguments": f"{task.name} can't be called so: {fault}"}
    return {}


def _field_at_fault(trigger: Trigger) -> str:
    """Which field `rule_of` stumbles over: each is read alone."""
    for name, blank in (("arguments", "{}"), ("condition", ""), ("fields", "")):
        kept = getattr(trigger, name)
        setattr(trigger, name, blank)
        try:
            rule_of(trigger)
        except Unreadable:
            continue
        else:
            return name
        finally:
            setattr(trigger, name, kept)
    return "model"


@dataclass(frozen=True)
class Rehearsal:
    """What a trigger would make of one object, if it were created, updated or deleted as it is now."""

    object_id: str
    name: str
    change: str
    decision: Decision


def rehearse(trigger: Trigger, most: int = 20) -> list[Rehearsal]:
    """Try a trigger on the latest objects of its model; nothing is enqueued. Raises Unreadable.

    How an object was before isn't known: an update is tried as if all fields had changed.
    """
    rule = rule_of(trigger)
    change: Change = (
        "update" if "update" in rule.changes else "create" if "create" in rule.changes else "delete"
    )
    latest = model_named(trigger.model)._base_manager.order_by("-pk")[:most]
    return [
        Rehearsal(str(found.pk), str(found), change, _tried(rule, change, values_of(found)))
        for found in latest
    ]


def _tried(rule: Rule, change: Change, values: Mapping[str, Any]) -> Decision:
    try:
        return decide(rule, change, values, None)
    except Unreadable as fault:
        return Decision(str(fault))
