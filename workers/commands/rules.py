"""What people do to the rules of alerts: make one, edit it, switch it on and off."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from jobs.models import Action, Channel, Rule
from jobs.models.people import Outcome
from jobs.perform import Refused, Settled, Subject, registered

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PLAIN = (
    "params", "tasks", "queues", "severity", "for_seconds", "resolve_seconds", "quiet_zone", "runbook_url",
    "note",
)  # fmt: skip


@dataclass(frozen=True)
class OfARule:
    """What a command about one rule begins with: its number."""

    rule: int

    def subject(self, user: User) -> Subject:
        return _subject(_found(self.rule))

    def switch(self, *, on: bool) -> Settled:
        """Have it looked at, or not."""
        rule = _found(self.rule)
        rule.enabled = on
        rule.save(update_fields=["enabled"])
        return Settled(Outcome.DONE, after={"enabled": on})


@registered
@dataclass(frozen=True)
class EnableRule(OfARule):
    """Have a rule looked at again."""

    name: ClassVar[str] = "rule.enable"
    permission: ClassVar[str] = "edit_rule"

    def execute(self, action: Action) -> Settled:
        return self.switch(on=True)


@registered
@dataclass(frozen=True)
class DisableRule(OfARule):
    """Have a rule not looked at: nothing fires by it, and what does is resolved."""

    name: ClassVar[str] = "rule.disable"
    permission: ClassVar[str] = "edit_rule"

    def execute(self, action: Action) -> Settled:
        return self.switch(on=False)


@registered
@dataclass(frozen=True)
class SaveRule:
    """Edit the rule with this number, or make one, which needs a `title` and a `kind`.

    What is None stays as it is. `params` are those of the kind; quiet hours are "HH:MM", "" for none;
    `team` is a group's name, "" for none; channels are numbers; `escalate_after` 0 is never.
    """

    name: ClassVar[str] = "rule.save"
    permission: ClassVar[str] = "edit_rule"
    rule: int | None = None
    title: str | None = None
    kind: str | None = None
    params: dict[str, Any] | None = None
    tasks: str | None = None
    queues: str | None = None
    team: str | None = None
    severity: str | None = None
    for_seconds: float | None = None
    resolve_seconds: float | None = None
    quiet_from: str | None = None
    quiet_until: str | None = None
    quiet_zone: str | None = None
    channels: list[int] | None = None
    escalate_after: float | None = None
    escalation_channels: list[int] | None = None
    runbook_url: str | None = None
    note: str | None = None

    def subject(self, user: User) -> Subject:
        if self.rule is None:
            return Subject("rule", (self.title or "new")[:100])
        return _subject(_found(self.rule))

    def execute(self, action: Action) -> Settled:
        rule = Rule(kind=self.kind or "") if self.rule is None else _found(self.rule)
        if self.kind not in (None, rule.kind):
            raise Refused("kind", _("The kind of a rule stays: make another rule."))
        self._fill(rule)
        _refuse_unsound(rule)
        rule.save()
        self._tell(rule)
        return Settled(Outcome.DONE, after={"rule": rule.pk, **told(rule)})

    def _fill(self, rule: Rule) -> None:
        given = {name: getattr(self, name) for name in PLAIN}
        for name, value in given.items():
            if value is not None:
                setattr(rule, name, value)
        if self.title is not None:
            rule.name = self.title.strip()
        if self.team is not None:
            rule.team = _team(self.team)
        for name in ("quiet_from", "quiet_until"):
            if (text := getattr(self, name)) is not None:
                setattr(rule, name, _time_of_day(text))
        if self.escalate_after is not None:
            rule.escalate_after = self.escalate_after or None

    def _tell(self, rule: Rule) -> None:
        """The channels, which only a rule that has a row can have."""
        if self.channels is not None:
            rule.channels.set(_channels(self.channels))
        if self.escalation_channels is not None:
            rule.escalation_channels.set(_channels(self.escalation_channels))


def told(rule: Rule) -> dict[str, Any]:
    """A rule as the audit keeps it."""
    plain = {name: getattr(rule, name) for name in PLAIN}
    return {
        **plain,
        "title": rule.name,
        "kind": rule.kind,
        "enabled": rule.enabled,
        "team": rule.team.name if rule.team else None,
        "quiet": [str(rule.quiet_from), str(rule.quiet_until)] if rule.quiet_from else None,
        "escalate_after": rule.escalate_after,
        "channels": sorted(rule.channels.values_list("name", flat=True)),
        "escalation_channels": sorted(rule.escalation_channels.values_list("name", flat=True)),
    }


def _found(number: int) -> Rule:
    rule = Rule.objects.select_related("team").filter(pk=number).first()
    if rule is None:
        raise Refused("missing", _("There is no such rule."))
    return rule


def _subject(rule: Rule) -> Subject:
    """A rule is everybody's: its editors reach everything."""
    return Subject("rule", rule.name, before=told(rule))


def _team(name: str) -> Group | None:
    if not name:
        return None
    group = Group.objects.filter(name=name).first()
    if group is None:
        raise Refused("form", _("There is no such team."))
    return group


def _time_of_day(text: str) -> time | None:
    try:
        return time.fromisoformat(text) if text else None
    except ValueError:
        raise Refused("form", _("A time of day is written as 22:30.")) from None


def _channels(numbers: list[int]) -> list[Channel]:
    found = list(Channel.objects.filter(pk__in=numbers))
    if len(found) != len(set(numbers)):
        raise Refused("form", _("There is no such channel."))
    return found


def _refuse_unsound(rule: Rule) -> None:
    try:
        rule.full_clean()
    except ValidationError as fault:
        lines = [f"{name}: {' '.join(texts)}" for name, texts in fault.message_dict.items()]
        raise Refused("form", " ".join(lines)) from None
