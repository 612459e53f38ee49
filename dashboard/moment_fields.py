"""A field for a moment: shown and read in the zone that its form names, known in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.functional import lazy
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from dashboard import zones


def _no_moment() -> str:
    return _("That is no moment: write it like 2026-11-22T02:41, in %(zone)s.") % {
        "zone": zones.current_name()
    }


NO_MOMENT: Any = lazy(_no_moment, str)()


class MomentInput(forms.DateTimeInput):
    """The browser's own; beside it the zone that is meant, so that a form which was opened before the visitor
    chose another one is read as it was filled in."""

    def __init__(self) -> None:
        super().__init__({"class": "input", "type": "datetime-local"}, format="%Y-%m-%dT%H:%M")

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        return super().render(name, value, attrs, renderer) + zones.hidden_field()

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> Any:
        text = super().value_from_datadict(data, files, name)
        return zones.text_in_utc(text, str(data.get(zones.FIELD) or "")) if isinstance(text, str) else text


class Moment(forms.DateTimeField):
    """Known in UTC, as a text and when it is read; shown in the visitor's zone."""

    widget = MomentInput
    default_error_messages = {"invalid": NO_MOMENT}

    def __init__(self, **options: Any) -> None:
        super().__init__(input_formats=[], **options)  # ISO 8601 alone, which browsers send

    def to_python(self, value: Any) -> datetime | None:
        with timezone.override(UTC):
            at = super().to_python(value)
        try:
            return None if at is None else at.astimezone(UTC)
        except OverflowError:
            return at  # beyond what UTC can express: its bounds are judged by others

    def prepare_value(self, value: Any) -> Any:
        return zones.text_in_zone(value) if isinstance(value, str) else super().prepare_value(value)
