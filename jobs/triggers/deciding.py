"""Whether a change fires a trigger, and with which arguments: pure, but for reading a model's fields."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import models

from jobs.models import Trigger
from jobs.triggers.language import Condition, Unreadable, fields_of, fill, read_arguments, read_condition
from nightdesk.options import SENSITIVE_KEYS
from nightdesk.redaction import Redactor

Change = Literal["create", "update", "delete"]
REDACTOR = Redactor(SENSITIVE_KEYS)


@dataclass(frozen=True)
class Rule:
    """A trigger, read: what it watches and what it makes."""

    id: int
    name: str
    changes: frozenset[str]
    fields: frozenset[str]
    condition: Condition
    arguments: Mapping[str, Any]
    task: str
    queue: str | None
    delay: float
    debounce: float

    @property
    def asks_before(self) -> bool:
        """Whether it must know how an object was before an update."""
        return "update" in self.changes and bool(self.fields or self.condition.old_names)


@dataclass(frozen=True)
class Decision:
    """`why` is what held it back, "" if it fires; then with these arguments."""

    why: str = ""
    arguments: Mapping[str, Any] | None = None

    @property
    def fires(self) -> bool:
        return self.arguments is not None


def rule_of(trigger: Trigger) -> Rule:
    """Read a trigger. Raises Unreadable for what could never fire."""
    names = field_names(model_named(trigger.model))
    fields = frozenset(part.strip() for part in trigger.fields.split(",") if part.strip())
    if unknown := sorted(fields - names):
        raise Unreadable(f"there is no field {unknown[0]!r}; there are {', '.join(sorted(names))}")
    condition, arguments = read_condition(trigger.condition, names), read_arguments(trigger.arguments, names)
    _refuse_secrets(condition.names | condition.old_names | fields_of(arguments))
    flags = {"create": trigger.on_create, "update": trigger.on_update, "delete": trigger.on_delete}
    return Rule(
        id=trigger.pk or 0,
        name=trigger.name,
        changes=frozenset(change for change, wanted in flags.items() if wanted),
        fields=fields,
        condition=condition,
        arguments=arguments,
        task=trigger.task,
        queue=trigger.queue or None,
        delay=trigger.delay,
        debounce=trigger.debounce,
    )


def _refuse_secrets(names: Collection[str]) -> None:
    """Raises Unreadable: what a job carries, and whether it was made, is shown to many."""
    for name in sorted(names):
        if REDACTOR.is_sensitive(name):
            raise Unreadable(f"{name!r} is taken for a secret; have the job read it by the primary key")


def model_named(label: str) -> type[models.Model]:
    """The model of "app.model". Raises Unreadable."""
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        raise Unreadable(f"there is no model {label!r}") from None


def field_names(model: type[models.Model]) -> frozenset[str]:
    """What the language may name: pk and each stored field, a foreign key as `customer` or `customer_id`."""
    fields = model._meta.concrete_fields
    return frozenset({"pk", *(field.name for field in fields), *(field.attname for field in fields)})


def values_of(instance: models.Model, written: Collection[str] | None = None) -> dict[str, Any]:
    """The values of an object's fields, by the names above, as the database gives them back.

    Left out are what was not loaded, and what is not among the fields `written`, if given.
    """
    absent = instance.get_deferred_fields()
    values: dict[str, Any] = {"pk": instance.pk}
    for field in instance._meta.concrete_fields:
        is_written = written is None or field.name in written or field.attname in written
        if is_written and field.attname not in absent:
            values[field.name] = values[field.attname] = _as_stored(field, getattr(instance, field.attname))
    return values


def _as_stored(field: models.Field[Any, Any], value: Any) -> Any:
    """A text that was given for a date is a date; an expression stays what it is."""
    try:
        return field.to_python(value)
    except (ValidationError, TypeError, ValueError, ArithmeticError):
        return value


def decide(rule: Rule, change: Change, now: Mapping[str, Any], before: Mapping[str, Any] | None) -> Decision:
    """What a change of one object comes to. Raises Unreadable if its values can't be compared."""
    if change == "update" and rule.fields and before is not None:
        changed = {name for name in rule.fields if now.get(name) != before.get(name)}
        if not changed:
            return Decision(f"none of {', '.join(sorted(rule.fields))} changed")
    if not rule.condition.holds(now, before):
        return Decision(f"the condition does not hold: {rule.condition.text}")
    return Decision(arguments=fill(rule.arguments, now))
