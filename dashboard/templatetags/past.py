"""The way from the steps of a chart to the system as it was then: by a link, and by dragging (drag.js)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django import template
from django.template import RequestContext
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from dashboard import moments, zones
from dashboard.templatetags.nightdesk import at, epoch

register = template.Library()
MINUTE = 60
register.simple_tag(zones.hidden_field, name="zone_field")


@register.simple_tag(takes_context=True)
def then(
    context: RequestContext, begin: datetime | float, seconds: float, form: str, address: str = ""
) -> SafeString:
    """The time of a step, as a link to that span; the bare time where the step is not over yet."""
    shown, since = at(begin, form), int(epoch(begin))
    if since + seconds > time.time() // MINUTE * MINUTE:
        return shown
    span = moments.ends(since, int(since + seconds))
    question = moments.query(context.request.GET, span)
    return format_html('<a href="{}?{}">{}</a>', address or reverse("overview"), question, shown)


@register.simple_tag
def ground(rows: Sequence[Sequence[Any]], seconds: int, address: str = "", steps: int = 0) -> SafeString:
    """Marks what a chart is drawn on, so that dragging leads to the span under it.

    `rows` are its steps, the newest first, each with its begin first; `steps` as many as are drawn, where
    rows are fewer.
    """
    drawn = steps or len(rows)
    return format_html(
        'data-drag="{}" data-start="{}" data-step="{}" data-steps="{}"',
        address or reverse("overview"),
        int(epoch(rows[0][0])) - (drawn - 1) * seconds,
        seconds,
        drawn,
    )
