"""The form of a rule: what each kind asks for, in its own words, and what every rule has."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.models import Group
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from jobs.alerts import kinds
from jobs.alerts.kinds import Choice, Number
from jobs.models import Channel, Rule
from jobs.models.alerts import LONGEST_TIME, Severity
from workers.commands.rules import SaveRule

OF_KIND = "param-"
# How a unit is written, and how many of it make one of what is kept.
UNITS: dict[str, tuple[str | Promise, float]] = {"s": (gettext_lazy("seconds"), 1.0), "share": ("%", 100.0)}
TEXT = {"class": "input"}


def _number(label: Any, help_text: Any = "", *, required: bool = True) -> forms.FloatField:
    widget = forms.NumberInput(attrs={**TEXT, "step": "any"})
    return forms.FloatField(
        label=label,
        help_text=help_text,
        required=required,
        min_value=0,
        max_value=LONGEST_TIME,
        widget=widget,
    )


class RuleForm(forms.Form):
    """A rule of one kind: an existing one, or a new one."""

    title = forms.CharField(label=gettext_lazy("Name"), max_length=100, widget=forms.TextInput(attrs=TEXT))
    severity = forms.ChoiceField(label=gettext_lazy("How bad"), choices=Severity.choices)
    tasks = forms.CharField(
        label=gettext_lazy("Tasks"), max_length=500, initial="*", widget=forms.TextInput(attrs=TEXT),
        help_text=gettext_lazy("Names or patterns with *, with commas between them."),
    )  # fmt: skip
    queues = forms.CharField(
        label=gettext_lazy("Queues"), max_length=500, initial="*", widget=forms.TextInput(attrs=TEXT),
        help_text=gettext_lazy("Names or patterns with *, with commas between them."),
    )  # fmt: skip
    for_seconds = _number(gettext_lazy("Fires when it has lasted (seconds)"))
    resolve_seconds = _number(
        gettext_lazy("Resolved when it has been gone (seconds)"),
        gettext_lazy("Longer each time that it comes back."),
    )
    channels = forms.ModelMultipleChoiceField(
        Channel.objects.all(), label=gettext_lazy("Tells"), required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("None: the default channels."),
    )  # fmt: skip
    escalate_after = _number(
        gettext_lazy("Escalates when nobody acknowledged for (seconds)"),
        gettext_lazy("Empty: never."),
        required=False,
    )
    escalation_channels = forms.ModelMultipleChoiceField(
        Channel.objects.all(), label=gettext_lazy("Escalates to"), required=False,
        widget=forms.CheckboxSelectMultiple,
    )  # fmt: skip
    quiet_from = forms.TimeField(
        label=gettext_lazy("Quiet from"), required=False,
        widget=forms.TimeInput(attrs={**TEXT, "type": "time"}, format="%H:%M"),
    )  # fmt: skip
    quiet_until = forms.TimeField(
        label=gettext_lazy("Quiet until"), required=False,
        widget=forms.TimeInput(attrs={**TEXT, "type": "time"}, format="%H:%M"),
    )  # fmt: skip
    quiet_zone = forms.CharField(
        label=gettext_lazy("Time zone of these"), max_length=64, initial="UTC",
        widget=forms.TextInput(attrs=TEXT),
    )  # fmt: skip
    team = forms.ModelChoiceField(
        Group.objects.order_by("name"), label=gettext_lazy("Team"), required=False,
        empty_label=gettext_lazy("Nobody's"),
    )  # fmt: skip
    runbook_url = forms.URLField(
        label=gettext_lazy("Runbook"), max_length=500, required=False, assume_scheme="https",
        widget=forms.URLInput(attrs=TEXT),
    )  # fmt: skip
    note = forms.CharField(
        label=gettext_lazy("Note"), max_length=500, required=False,
        widget=forms.Textarea(attrs={**TEXT, "rows": "2"}),
    )  # fmt: skip

    def __init__(self, kind: str, rule: Rule | None, asked: Any = None) -> None:
        super().__init__(asked, initial=initial_of(kind, rule))
        self.kind, self.rule = kind, rule
        for name, told in kinds.told(kind).items():
            self.fields[OF_KIND + name] = _field_of(told)

    @property
    def of_the_kind(self) -> list[forms.BoundField]:
        """The fields that only this kind has."""
        return [self[name] for name in self.fields if name.startswith(OF_KIND)]

    def params(self) -> dict[str, Any]:
        """The parameters of the kind, from a valid form."""
        told = kinds.told(self.kind)
        return {name: _kept(told[name], self.cleaned_data[OF_KIND + name]) for name in told}

    def command(self) -> SaveRule:
        """What saves it, from a valid form."""
        given = self.cleaned_data
        same = ("title", "severity", "tasks", "queues", "for_seconds", "resolve_seconds", "quiet_zone")
        return SaveRule(
            rule=self.rule.pk if self.rule else None,
            kind=self.kind,
            params=self.params(),
            team=given["team"].name if given["team"] else "",
            channels=[channel.pk for channel in given["channels"]],
            escalation_channels=[channel.pk for channel in given["escalation_channels"]],
            escalate_after=given["escalate_after"] or 0.0,
            quiet_from=_time(given["quiet_from"]),
            quiet_until=_time(given["quiet_until"]),
            runbook_url=given["runbook_url"],
            note=given["note"],
            **{name: given[name] for name in same},
        )

    def draft(self) -> Rule:
        """The rule as it would be, not saved: to be tried against the past."""
        given = self.cleaned_data
        draft = Rule(kind=self.kind, params=self.params(), name=given["title"])
        for name in ("tasks", "queues", "severity", "for_seconds", "resolve_seconds"):
            setattr(draft, name, given[name])
        return draft


def initial_of(kind: str, rule: Rule | None) -> dict[str, Any]:
    """What stands in the form at first: the rule as it is, or what a new one of the kind would have."""
    told = kinds.told(kind)
    params = {**kinds.defaults(kind), **(rule.params if rule else {})}
    of_kind = {OF_KIND + name: _shown(told[name], params[name]) for name in told}
    if rule is None:
        return {"severity": Severity.WARN, "for_seconds": 0, "resolve_seconds": 30, **of_kind}
    plain = (
        "severity", "tasks", "queues", "for_seconds", "resolve_seconds", "escalate_after", "quiet_from",
        "quiet_until", "quiet_zone", "team", "runbook_url", "note",
    )  # fmt: skip
    return {
        "title": rule.name,
        **{name: _plain(getattr(rule, name)) for name in plain},
        "channels": list(rule.channels.all()),
        "escalation_channels": list(rule.escalation_channels.all()),
        **of_kind,
    }


def _field_of(told: Number | Choice) -> forms.Field:
    if isinstance(told, Choice):
        return forms.ChoiceField(label=_capital(told.label), choices=list(told.words.items()))
    unit, times = UNITS.get(told.unit, ("", 1.0))
    label = _capital(told.label) + (f" ({unit})" if unit != "" else "")
    widget = forms.NumberInput(attrs={**TEXT, "step": "1" if told.whole else "any"})
    if told.whole:
        least, most = int(told.least), int(told.most)
        return forms.IntegerField(label=label, min_value=least, max_value=most, widget=widget)
    least_shown, most_shown = told.least * times, told.most * times
    return forms.FloatField(label=label, min_value=least_shown, max_value=most_shown, widget=widget)


def _capital(label: Any) -> str:
    text = str(label)
    return text[:1].upper() + text[1:]


def _shown(told: Number | Choice, value: Any) -> Any:
    """As the form shows it: shares in per cent."""
    if isinstance(told, Choice) or not isinstance(value, int | float):
        return value
    shown = value * UNITS.get(told.unit, ("", 1.0))[1]
    return int(shown) if shown == int(shown) else round(shown, 6)


def _plain(value: Any) -> Any:
    """Whole seconds without a point."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _kept(told: Number | Choice, value: Any) -> Any:
    """As the rule keeps it."""
    if isinstance(told, Choice) or told.whole:
        return value
    return round(value / UNITS.get(told.unit, ("", 1.0))[1], 9)


def _time(value: Any) -> str:
    return value.strftime("%H:%M") if value else ""
