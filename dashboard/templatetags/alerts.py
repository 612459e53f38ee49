"""Tags of the pages of alerts."""

from __future__ import annotations

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from dashboard import charts
from dashboard.alert_rows import Row
from dashboard.alert_text import words_of
from dashboard.formats import NOT_APPLICABLE

register = template.Library()
HEIGHT = 18


@register.simple_tag
def turning_spark(row: Row, label: str) -> SafeString | str:
    """A trend as bars, red from where it went wrong; a dash where nothing of it is kept."""
    values = list(row.trend)
    if not values:
        return NOT_APPLICABLE
    top = max((value for value in values if value is not None), default=0) or 1
    well = [value if place < row.turn else None for place, value in enumerate(values)]
    ill = [value if place >= row.turn else None for place, value in enumerate(values)]
    return format_html(
        '<svg class="spark" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<path d="{}"/><path class="bad" d="{}"/></svg>',
        len(values) * 4 - 1,
        HEIGHT,
        label,
        charts.spark(well, HEIGHT, top),
        charts.spark(ill, HEIGHT, top),
    )


register.filter("changed_words", words_of)
