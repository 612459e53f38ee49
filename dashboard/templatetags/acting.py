"""Tags for forms by which people act."""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import urlencode

from django import template
from django.template import Context
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

import workers.commands  # noqa: F401 it fills the registry
from dashboard.visitors import hindrance
from jobs import access, audit
from jobs.models import Action
from jobs.perform import registered

register = template.Library()

WITH_PAGES = ("job", "queue", "worker", "bulk", "dead-letter", "alert", "error")


@register.simple_tag
def once() -> SafeString:
    """A hidden field by which a form that is sent twice is one action (see dashboard.acting)."""
    return format_html('<input type="hidden" name="once" value="{}">', secrets.token_urlsafe(16))


@register.simple_tag(takes_context=True)
def why_not(context: Context, command: str, task: str | None = None, queue: str | None = None) -> str:
    """Why the visitor may not use a command (by its name) on what has this task and queue; "" if they may."""
    return hindrance(context["request"], registered.commands[command], task, queue)


@register.simple_tag
def off(why: str) -> SafeString:
    """Marks a button that is off: it stays in the order of focus, and says why. Nothing if `why` is empty."""
    return format_html('aria-disabled="true" title="{}"', why) if why else SafeString("")


@register.inclusion_tag("audit/_of.html", takes_context=True)
def actions_of(context: Context, kind: str, name: str) -> dict[str, Any]:
    """What people did to one thing, as far as the visitor may know."""
    reader = context["request"].user
    all_of_them = f"{reverse('audit')}?{urlencode({'kind': kind, 'target': name})}"
    return {
        "actions": audit.latest_of(kind, name, reader),
        "all": all_of_them if access.has(reader, "view_audit") else "",
    }


@register.simple_tag
def target(action: Action) -> SafeString:
    """What an action was about, with a way there where it has a page."""
    name = format_html('<span class="cut cut-name" title="{}">{}</span>', action.target, action.target)
    kind = format_html('<span class="two">{}</span>', action.target_kind)
    address = _page_of(action.target_kind, action.target)
    return format_html('<a href="{}">{}</a>{}', address, name, kind) if address else name + kind


def _page_of(kind: str, name: str) -> str:
    """An address has the name of the kind of thing that it is about."""
    try:
        return reverse(kind, args=[name]) if kind in WITH_PAGES else ""
    except NoReverseMatch:
        return ""
