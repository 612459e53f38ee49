"""How long something is to last: what the forms of pauses and silences have in common."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

MINUTE, HOUR, DAY = 60, 3600, 86_400
A_WHILE: tuple[tuple[str, str | Promise], ...] = (
    (str(15 * MINUTE), gettext_lazy("15 minutes")),
    (str(HOUR), gettext_lazy("1 hour")),
    (str(4 * HOUR), gettext_lazy("4 hours")),
    (str(DAY), gettext_lazy("1 day")),
)
A_WEEK = (str(7 * DAY), gettext_lazy("7 days"))
UNTIL = ("until", gettext_lazy("Until the moment below"))


class HowLong(forms.Form):
    """Some time from now, or until a moment; empty where the choices allow it."""

    lasts = forms.ChoiceField(label=gettext_lazy("How long"))
    until = forms.DateTimeField(
        label=gettext_lazy("Until (UTC)"),
        required=False,
        widget=forms.DateTimeInput(
            attrs={"class": "input", "type": "datetime-local"}, format="%Y-%m-%dT%H:%M"
        ),
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
    )

    def clean(self) -> dict[str, object]:
        cleaned: dict[str, object] = super().clean() or {}
        if cleaned.get("lasts") == "until" and not cleaned.get("until") and "until" not in self.errors:
            self.add_error("until", _("Say until when."))
        return cleaned

    def end(self) -> dict[str, Any]:
        """What the command is to know of it."""
        lasts = self.cleaned_data["lasts"]
        if lasts == "until":
            return {"until": self.cleaned_data["until"]}
        return {"lasts": float(lasts)} if lasts else {}
