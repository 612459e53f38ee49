"""Tags of pages on which many jobs can be chosen."""

from __future__ import annotations

from django import template
from django.template import Context

from dashboard.visitors import user_of
from jobs.perform import lacking
from workers.bulk.deeds import DEEDS

register = template.Library()


@register.simple_tag(takes_context=True)
def why_not_in_bulk(context: Context, deed: str) -> str:
    """Why the visitor may not do this to many jobs at once; "" if they may."""
    user = user_of(context["request"])
    return str(lacking(user, "act_in_bulk") or lacking(user, DEEDS[deed].permission) or "")
