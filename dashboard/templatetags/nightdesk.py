"""Tags that render what a frame holds, with the marks by which the script keeps it true.

An element says where its value comes from (`data-key`), how it is written
(`data-as`) and when it is shown (`data-when`); static/nightdesk/bind.js reads
the same marks, so the first page and every later frame go one way.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import template
from django.conf import settings
from django.templatetags.static import static
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from dashboard import charts, formats
from dashboard.pages import Page

register = template.Library()

# Word, shape. The tone comes from the style sheet, by data-state.
BADGES: dict[str, tuple[str | Promise, str]] = {
    "queued": (gettext_lazy("Queued"), "s-queued"),
    "scheduled": (gettext_lazy("Scheduled"), "s-scheduled"),
    "received": (gettext_lazy("Received"), "s-received"),
    "running": (gettext_lazy("Running"), "s-running"),
    "retrying": (gettext_lazy("Retrying"), "s-retrying"),
    "succeeded": (gettext_lazy("Succeeded"), "s-succeeded"),
    "failed": (gettext_lazy("Failed"), "s-failed"),
    "revoked": (gettext_lazy("Revoked"), "s-revoked"),
    "rejected": (gettext_lazy("Rejected"), "s-rejected"),
    "cancel pending": (gettext_lazy("Revoking…"), "s-cancelling"),
    "orphaned": (gettext_lazy("Orphaned"), "v-dead"),
    "stuck": (gettext_lazy("Stuck"), "v-late"),
    "lost": (gettext_lazy("Lost"), "v-warning"),
    "duplicate": (gettext_lazy("Duplicate"), "v-idle"),
    "healthy": (gettext_lazy("Healthy"), "s-succeeded"),
    "late": (gettext_lazy("Late"), "v-late"),
    "none": (gettext_lazy("No workers"), "v-critical"),
    "capacity": (gettext_lazy("At capacity"), "v-capacity"),
    "growing": (gettext_lazy("Growing"), "v-growing"),
    "draining": (gettext_lazy("Draining"), "v-draining"),
    "idle": (gettext_lazy("Idle"), "v-idle"),
    "unknown": (gettext_lazy("Unknown"), "s-unknown"),
    "online": (gettext_lazy("Online"), "s-succeeded"),
    "unreachable": (gettext_lazy("Unreachable"), "v-gap"),
    "dead": (gettext_lazy("Dead"), "v-dead"),
    "retired": (gettext_lazy("Retired"), "s-queued"),
    "paused": (gettext_lazy("Paused"), "v-paused"),
    "due": (gettext_lazy("On time"), "s-succeeded"),
    "fired": (gettext_lazy("Sent"), "s-received"),
    "missed": (gettext_lazy("Missed"), "s-rejected"),
    "skipped": (gettext_lazy("Left out"), "v-idle"),
    "overlapped": (gettext_lazy("Overlapped"), "v-idle"),
    "held": (gettext_lazy("Waits"), "s-queued"),
    "silent": (gettext_lazy("Silent"), "v-dead"),
    "stalled": (gettext_lazy("Stalled"), "v-critical"),
    "broken": (gettext_lazy("Can't be sent"), "v-critical"),
    "known": (gettext_lazy("Known"), "s-succeeded"),
    "partly": (gettext_lazy("In part"), "v-gap"),
    "later": (gettext_lazy("Later"), "s-scheduled"),
    "asked": (gettext_lazy("Asked"), "s-queued"),
    "sent": (gettext_lazy("Sent"), "s-received"),
    "done": (gettext_lazy("Done"), "s-succeeded"),
    "refused": (gettext_lazy("Refused"), "s-rejected"),
    "page": (gettext_lazy("Page"), "v-critical"),
    "warn": (gettext_lazy("Warning"), "v-warning"),
    "info": (gettext_lazy("Information"), "v-gap"),
    "acknowledged": (gettext_lazy("Acknowledged"), "eye"),
    "silenced": (gettext_lazy("Silenced"), "v-paused"),
    "pending": (gettext_lazy("Pending"), "s-scheduled"),
    "resolved": (gettext_lazy("Resolved"), "s-succeeded"),
    "new": (gettext_lazy("New"), "v-new"),
    "regressed": (gettext_lazy("Regressed"), "v-regressed"),
    "unresolved": (gettext_lazy("Unresolved"), "s-queued"),
    "ignored": (gettext_lazy("Ignored"), "v-idle"),
}


def found(data: Any, path: str) -> Any:
    """The value at a dotted path of nested mappings, or None."""
    for name in path.split("."):
        data = data.get(name) if isinstance(data, Mapping) else None
    return data


def epoch(value: Any) -> Any:
    """Seconds since the epoch of an aware datetime; anything else as it is."""
    return value.timestamp() if isinstance(value, datetime) else value


@register.simple_tag
def icon(name: str) -> SafeString:
    sprite = static("nightdesk/icons.svg")
    return format_html('<svg class="ic" aria-hidden="true"><use href="{}#{}"/></svg>', sprite, name)


@register.simple_tag
def current(page: Page, place: str | None) -> SafeString:
    """`aria-current` for the way to a page, at the address of this name."""
    standing = page.standing(place or "")
    return format_html('aria-current="{}"', standing) if standing else SafeString("")


@register.simple_tag
def value(data: Any, path: str, form: str = "text", of: str = "", mark: bool = False) -> SafeString:
    """`data`'s value at `path`; with `of`, a dash where all the counts at those paths are 0."""
    attributes = {"data-key": path, "data-as": form, "data-of": of, "data-mark": "1" if mark else ""}
    content = _content(data, path, form, of)
    return format_html("<span{}{}>{}</span>", _attributes(attributes), _title(data, path, form), content)


@register.simple_tag
def figure(data: Any, path: str, form: str, of: str = "") -> SafeString:
    """A headline figure: as `value`, with its units in a second voice."""
    attributes = {"data-key": path, "data-as": form, "data-of": of, "data-rich": "1"}
    tokens = _content(data, path, form, of).split(" ")
    parts = format_html_join("", "{}", ((_token(place, token),) for place, token in enumerate(tokens)))
    return format_html("<span{}{}>{}</span>", _attributes(attributes), _title(data, path, form), parts)


def _token(place: int, token: str) -> SafeString:
    return format_html('<span class="unit">{}</span>' if place % 2 else "<span>{}</span>", token)


def _content(data: Any, path: str, form: str, of: str) -> str:
    if of and all(found(data, part) == 0 for part in of.split(" ")):
        return formats.NOT_APPLICABLE
    return formats.written(epoch(found(data, path)), form, time.time())


def _title(data: Any, path: str, form: str) -> SafeString:
    """The exact value, where the form cuts it short."""
    exact = found(data, path)
    if form not in {"count", "rate", "name"} or exact is None:
        return SafeString("")
    return format_html(' title="{}"', formats.exact(exact) if form == "count" else exact)


def _attributes(named: dict[str, str]) -> SafeString:
    return format_html_join("", ' {}="{}"', ((name, value) for name, value in named.items() if value))


@register.simple_tag
def moment(data: Any, path: str, form: str = "ago") -> SafeString:
    """A `<time>`: short in the text, whole in the title."""
    at = epoch(found(data, path))
    return format_html(
        '<time data-key="{}" data-as="{}" data-epoch="{}" title="{}">{}</time>',
        path,
        form,
        "" if at is None else at,
        "" if at is None else formats.moment(at),
        formats.written(at, form, time.time()),
    )


@register.simple_tag
def at(value: Any, form: str = "ago") -> SafeString:
    """A `<time>` of a datetime or of seconds since the epoch."""
    return moment({"at": value}, "at", form)


@register.simple_tag
def when(data: Any, path: str, *values: str) -> SafeString:
    """Marks an element that is shown only while the value at `path` is one of `values`.

    "known", "unknown", "some" and "zero" stand for any value, None, a number above 0, and 0 or nothing;
    "one" and "many" for the number 1, and those above it.
    """
    hidden = "" if _is_one(found(data, path), values) else " hidden"
    return format_html('data-when="{}"{}', " ".join((path, *values)), SafeString(hidden))


def _is_one(value: Any, values: tuple[str, ...]) -> bool:
    if isinstance(value, list | dict | str):
        filled, known = len(value) > 0, True
    else:
        filled, known = bool(value), value is not None
    words = {"known": known, "unknown": not known, "some": filled, "zero": known and not filled}
    words |= {"one": value == 1, "many": isinstance(value, int) and value > 1}
    return any(words.get(word, value == word) for word in values)


@register.simple_tag
def badge(state: str | None, word: str = "") -> SafeString:
    """A state: shape, word and tone together."""
    known = state if state in BADGES else "unknown"
    default, shape = BADGES[known]
    shown = word or (default if state in BADGES or not state else state)
    return format_html(
        '<span class="state" data-state="{}">{}<span>{}</span></span>', known, icon(shape), shown
    )


@register.simple_tag
def live_badge(data: Any, path: str) -> SafeString:
    """A badge that follows the value at `path`."""
    return format_html('<span data-badge="{}">{}</span>', path, badge(found(data, path)))


@register.simple_tag
def badges() -> SafeString:
    """Every badge, for the script to clone."""
    return format_html_join("", "{}", ((badge(state),) for state in BADGES))


@register.simple_tag
def link(data: Any, pattern: str) -> SafeString:
    """An href whose {names} are filled from `data`, marked so that it can be filled again."""
    return format_html('href="{}" data-href="{}"', formats.address(pattern, data or {}), pattern)


@register.simple_tag
def spark(data: Any, path: str, label: str, height: int = 18, full: float | None = None) -> SafeString:
    """A trend as bars."""
    values = found(data, path) or []
    return format_html(
        '<svg class="spark" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<path data-spark="{}" data-height="{}"{} d="{}"/></svg>',
        max(1, len(values) * 4 - 1),
        height,
        label,
        path,
        height,
        _attributes({"data-full": str(full) if full else ""}),
        charts.spark(values, height, full),
    )


@register.simple_tag
def share_bar(data: Any, part: str, whole: str) -> SafeString:
    """A gauge of `part` in `whole`; nothing drawn while either is not known."""
    return format_html(
        '<svg class="gauge" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="f-line" width="100" height="6"/>'
        '<rect class="f-run" height="6" data-share="{} {}" width="{}"/></svg>',
        part,
        whole,
        _per_cent(found(data, part), found(data, whole)),
    )


@register.simple_tag
def share_width(share: float | None) -> str:
    """The width of a share in a drawing 100 wide."""
    return _per_cent(share, 1)


def _per_cent(part: float | None, whole: float | None) -> str:
    return f"{min(100.0, 100 * part / whole):.1f}" if part and whole else "0"


@register.simple_tag
def worker_command() -> str:
    """The command that starts a worker on every queue declared."""
    return f".venv/bin/celery -A workers worker -Q {','.join(settings.QUEUES)}"


@register.simple_tag
def written(value: Any, form: str = "text") -> str:
    """A value in a form, with no marks."""
    return formats.written(epoch(value), form, time.time())


@register.filter
def chart_rows(chart: dict[str, Any]) -> list[dict[str, Any]]:
    """The main chart in figures, the newest minute first."""
    columns = zip(chart["finished"], chart["failed"], chart["oldest"], strict=True)
    rows = [
        {
            "minute": chart["start"] + place * chart["step"],
            "finished": finished,
            "failed": failed,
            "oldest": oldest,
        }
        for place, (finished, failed, oldest) in enumerate(columns)
    ]
    return rows[::-1]


@register.filter
def initials(name: str) -> str:
    return name[:2].upper()
