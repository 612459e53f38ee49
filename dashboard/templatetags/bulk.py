"""Tags of pages on which many jobs can be chosen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from django import template
from django.template import Context

from dashboard import formats
from dashboard.visitors import user_of
from jobs.perform import lacking
from jobs.values import in_utc
from workers.bulk.deeds import DEEDS

register = template.Library()
MOMENTS = ("since", "until")


@register.filter
def in_words(filters: Mapping[str, str | int]) -> list[tuple[str, str | int]]:
    """The filter of a bulk, its moments as they are written for the visitor."""
    return [(name, _moment(str(value)) if name in MOMENTS else value) for name, value in filters.items()]


def _moment(text: str) -> str:
    return formats.moment(in_utc(datetime.fromisoformat(text)).timestamp())


@register.simple_tag(takes_context=True)
def why_not_in_bulk(context: Context, deed: str) -> str:
    """Why the visitor may not do this to many jobs at once; "" if they may."""
    user = user_of(context["request"])
    return str(lacking(user, "act_in_bulk") or lacking(user, DEEDS[deed].permission) or "")
