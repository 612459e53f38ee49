"""Tags of the overview."""

from __future__ import annotations

from django import template

from jobs.attention import WHATS

register = template.Library()


@register.simple_tag
def needs() -> tuple[str, ...]:
    """All that a row of what needs somebody may say."""
    return WHATS
