"""Forms by which a job is run: of a task's signature, or of what another job carried."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.moment_fields import Moment
from dashboard.zones import titled
from workers.signatures import NO_DEFAULT, Kind, Parameter, kind_word

HIGHEST_PRIORITY = 9
LONGEST_JSON = 1_000_000


class Json(forms.CharField):
    """A value as JSON; empty is `UNSET`. `kind` narrows what it may be."""

    def __init__(self, kind: Kind = "JSON", **options: Any) -> None:
        self.kind = kind
        rows = 2 if kind == "JSON" else 5
        widget = forms.Textarea(attrs={"rows": rows, "class": "input code-input", "spellcheck": "false"})
        super().__init__(required=False, max_length=LONGEST_JSON, strip=True, widget=widget, **options)

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return NO_DEFAULT
        try:
            read = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError) as fault:
            raise forms.ValidationError(_("This is not JSON: %(fault)s.") % {"fault": fault}) from None
        shape = {"list": list, "object": dict}.get(self.kind, object)
        if not isinstance(read, shape):
            raise forms.ValidationError(_("This must be %(kind)s.") % {"kind": kind_word(self.kind)})
        return read


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


class Where(forms.Form):
    """To which queue, how urgent, and when."""

    queue = forms.CharField(label=gettext_lazy("Queue"), max_length=255, required=False, widget=forms.Select)
    priority = forms.TypedChoiceField(
        label=gettext_lazy("Priority"),
        choices=[("", "")] + [(number, number) for number in range(HIGHEST_PRIORITY, -1, -1)],
        coerce=int,
        empty_value=None,
        required=False,
        help_text=gettext_lazy("9 is the most urgent."),
    )
    eta = Moment(label=titled(gettext_lazy("Not before")), required=False)

    def offer(self, queues: list[str], usual: str, priority: str) -> None:
        """The queues to choose from; `usual` and `priority` are what holds if none is chosen."""
        asked = self.data.get(self.add_prefix("queue"))
        offered = [*queues, asked] if asked and asked not in queues else queues
        select: Any = self.fields["queue"].widget
        select.choices = [("", usual), *((name, name) for name in offered)]
        choices: Any = self.fields["priority"]
        choices.choices = [("", priority), *choices.choices[1:]]

    def where(self) -> dict[str, Any]:
        """As the commands take it."""
        told = self.cleaned_data
        return {"queue": told["queue"] or None, "priority": told["priority"], "eta": told["eta"]}

    @property
    def wheres(self) -> list[forms.BoundField]:
        """The fields of this part of the form."""
        return [self[name] for name in ("queue", "priority", "eta")]


class RerunForm(Where):
    """The arguments of a job as JSON; what is left empty stays as it was."""

    args = Json("list", label="args")
    kwargs = Json("object", label="kwargs")

    def edited(self) -> dict[str, Any]:
        """As `Rerun` takes it."""
        carried = {name: _told(self.cleaned_data[name]) for name in ("args", "kwargs")}
        return {**carried, **self.where()}


def _told(value: Any) -> Any:
    return None if value is NO_DEFAULT else value


class RunForm(Where):
    """One field for each parameter of a task."""

    def __init__(self, parameters: list[Parameter], data: Any = None) -> None:
        super().__init__(data)
        self.parameters = parameters
        for parameter in parameters:
            self.fields[_name(parameter)] = _field(parameter)

    @property
    def values(self) -> list[forms.BoundField]:
        """The fields of the parameters."""
        return [self[_name(parameter)] for parameter in self.parameters]

    def given(self) -> dict[str, Any]:
        """As `Run` takes it: `args` and `kwargs`, and where to."""
        args, kwargs = self._arguments()
        return {"args": args, "kwargs": kwargs, **self.where()}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        for parameter in self.parameters:
            name = _name(parameter)
            if parameter.needed and cleaned.get(name, "") is NO_DEFAULT:
                self.add_error(name, _("A value is needed."))
        return cleaned

    def _arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """By name where that can be; by place what has no name, and all that stands before such."""
        rest = next((self._value(one) for one in self.parameters if one.gathers == "*"), NO_DEFAULT)
        by_place = [one for one in self.parameters if one.positional_only]
        if rest is not NO_DEFAULT and rest:
            gatherer = next(place for place, one in enumerate(self.parameters) if one.gathers == "*")
            by_place = self.parameters[:gatherer]
        args = [self._value_or_default(one) for one in by_place]
        named = [one for one in self.parameters if one not in by_place and not one.gathers]
        kwargs = {one.name: value for one in named if (value := self._value(one)) is not NO_DEFAULT}
        more = next((self._value(one) for one in self.parameters if one.gathers == "**"), NO_DEFAULT)
        return [*_without_trailing_unset(args), *_or(rest, [])], {**_or(more, {}), **kwargs}

    def _value(self, parameter: Parameter) -> Any:
        return self.cleaned_data[_name(parameter)]

    def _value_or_default(self, parameter: Parameter) -> Any:
        value = self._value(parameter)
        return parameter.default if value is NO_DEFAULT else value


def _or(value: Any, other: Any) -> Any:
    return other if value is NO_DEFAULT else value


def _without_trailing_unset(args: list[Any]) -> list[Any]:
    while args and args[-1] is NO_DEFAULT:
        args = args[:-1]
    return args


def _name(parameter: Parameter) -> str:
    return f"value-{parameter.name}"


class Text(forms.CharField):
    """A text as it stands; without one, what the task has by itself, where it has something."""

    def __init__(self, parameter: Parameter, **options: Any) -> None:
        self._parameter = parameter
        widget = forms.Textarea(attrs={"rows": 1, "class": "input"})
        super().__init__(required=False, strip=False, max_length=LONGEST_JSON, widget=widget, **options)

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        return text if text or self._parameter.needed else NO_DEFAULT


class Number(forms.FloatField):
    """A number, or `NO_DEFAULT`."""

    def clean(self, value: Any) -> Any:
        number = super().clean(value)
        return NO_DEFAULT if number is None else number


class WholeNumber(forms.IntegerField):
    """A whole number, or `NO_DEFAULT`."""

    def clean(self, value: Any) -> Any:
        number = super().clean(value)
        return NO_DEFAULT if number is None else number


class YesOrNo(forms.ChoiceField):
    """true, false, or `NO_DEFAULT`."""

    def __init__(self, **options: Any) -> None:
        choices = [("", "–"), ("true", "true"), ("false", "false")]  # noqa: RUF001
        super().__init__(choices=choices, required=False, **options)

    def clean(self, value: Any) -> Any:
        told = super().clean(value)
        return told == "true" if told else NO_DEFAULT


def _field(parameter: Parameter) -> forms.Field:
    if parameter.gathers:
        kind: Kind = "list" if parameter.gathers == "*" else "object"
        return Json(
            kind, label=parameter.gathers + parameter.name, help_text=_("JSON: %s.") % kind_word(kind)
        )
    told: dict[str, Any] = {"label": parameter.name, "help_text": _help(parameter)}
    numeric = {"class": "input", "inputmode": "decimal"}
    if parameter.kind == "text":
        return Text(parameter, **told)
    if parameter.kind == "whole number":
        return WholeNumber(required=False, widget=forms.TextInput(attrs=numeric), **told)
    if parameter.kind == "number":
        return Number(required=False, widget=forms.TextInput(attrs=numeric), **told)
    return YesOrNo(**told) if parameter.kind == "yes or no" else Json(parameter.kind, **told)


def _help(parameter: Parameter) -> str:
    kind = kind_word(parameter.kind)
    if parameter.default is NO_DEFAULT:
        return _("%(kind)s, needed.") % {"kind": kind.capitalize()}
    return _("%(kind)s; without one: %(default)s.") % {
        "kind": kind.capitalize(),
        "default": repr(parameter.default)[:80],
    }
