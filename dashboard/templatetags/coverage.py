"""Tags of the Coverage page, and of its gaps and quarantine."""

from __future__ import annotations

from collections.abc import Mapping

from django import template
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from dashboard.templatetags.nightdesk import icon
from jobs.limits import Tone
from jobs.models import Gap
from nightdesk.options import SENSITIVE_KEYS
from nightdesk.redaction import Redactor

register = template.Library()

SAMPLE_LENGTH = 2_000
STATES = {"bad": "dead", "warn": "late", "idle": "idle", "": "healthy"}
ICONS = {"bad": "v-critical", "warn": "v-warning", "idle": "v-idle"}
_redactor = Redactor(SENSITIVE_KEYS)


@register.filter
def tone_state(tone: str) -> str:
    """The state whose tone a finding has."""
    return STATES[tone]


@register.simple_tag
def tone_icon(tone: Tone) -> SafeString:
    """The shape of a finding."""
    return SafeString(icon(ICONS[tone]))


@register.filter
def value_of(data: Mapping[str, str], key: str) -> str:
    return data.get(key, "")


@register.filter
def length_of(gap: Gap) -> float:
    """Seconds from its beginning to its end."""
    return max(0.0, (gap.ended_at - gap.began_at).total_seconds())


@register.filter
def gap_reason(reason: str) -> str:
    """Why events are missing, in words."""
    words = {
        "sequence": _("A producer numbered events that never came: its buffer was full, or it was killed."),
        "replaced": _("Redis came back without the stream: what was in it, and not read yet, is gone."),
        "cap": _("The stream reached its cap, and Redis cut off what nobody had read."),
    }
    return words.get(reason, reason)


@register.filter
def redacted(sample: str) -> str:
    """A sample as it may be shown: it may come from a program without a recorder."""
    return _redactor.excerpt(sample, SAMPLE_LENGTH)
