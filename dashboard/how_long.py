"""How long something is to last: what the forms of pauses and silences have in common."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.moment_fields import Moment
from dashboard.zones import titled

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
    until = Moment(label=titled(gettext_lazy("Until")), required=False)

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
