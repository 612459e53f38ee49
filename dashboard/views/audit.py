"""The audit: who did what, when, from where, and what came of it."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from functools import wraps
from typing import Any, Protocol

from channels.db import database_sync_to_async
from django import forms
from django.core.exceptions import PermissionDenied
from django.core.validators import MaxValueValidator, MinValueValidator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from dashboard.visitors import cluster_id_of, user_of
from jobs import access, audit
from jobs.models import Action
from jobs.models.people import Outcome
from jobs.perform import registered
from jobs.stats import EARLIEST, LATEST

LAST_ID = 2**63 - 1
MOST_EXPORTED = 10_000
# A spreadsheet takes what begins so for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
COLUMNS = (
    "at", "who", "via", "address", "command", "target_kind", "target", "task", "queue", "reason",
    "arguments", "before", "after", "count", "outcome", "refusal", "detail", "settled_at",
)  # fmt: skip
CARRIED = ("arguments", "before", "after")
OTHER_DEEDS = ("account.sign-in", "account.password", "admin.add", "admin.change", "admin.delete")
VIAS = ("page", "admin", "api", "command line", "monitor")
ANY = ("", gettext_lazy("Any"))
POSSIBLE = (MinValueValidator(EARLIEST.date()), MaxValueValidator(LATEST.date()))


class View(Protocol):
    def __call__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase: ...


def for_readers(view: View) -> View:
    """Only who may read the audit gets in."""

    @require_safe
    @never_cache
    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not access.has(request.user, "view_audit"):
            raise PermissionDenied(_("Your role does not include reading who did what."))
        return view(request, *args, **kwargs)

    return guarded


class Filters(forms.Form):
    """The filters, from the query string. Days are those of UTC, `until` included."""

    who = forms.CharField(label=gettext_lazy("Who"), max_length=150, required=False)
    command = forms.ChoiceField(label=gettext_lazy("What"), required=False)
    kind = forms.CharField(label=gettext_lazy("On a"), max_length=16, required=False)
    target = forms.CharField(label=gettext_lazy("Named"), max_length=255, required=False)
    outcome = forms.ChoiceField(
        label=gettext_lazy("Outcome"), choices=[ANY, *Outcome.choices], required=False
    )
    via = forms.ChoiceField(
        label=gettext_lazy("By"), choices=[ANY, *((via, via) for via in VIAS)], required=False
    )
    since = forms.DateField(label=gettext_lazy("From (UTC)"), required=False, validators=POSSIBLE)
    until = forms.DateField(label=gettext_lazy("Until (UTC)"), required=False, validators=POSSIBLE)
    before = forms.IntegerField(min_value=1, max_value=LAST_ID, required=False, widget=forms.HiddenInput)
    after = forms.IntegerField(min_value=0, max_value=LAST_ID, required=False, widget=forms.HiddenInput)

    def __init__(self, asked: Any) -> None:
        super().__init__(asked)
        told = [*sorted(registered.commands), *OTHER_DEEDS]
        other = [told_command] if (told_command := asked.get("command")) and told_command not in told else []
        command: Any = self.fields["command"]
        command.choices = [ANY, *((name, name) for name in [*told, *other])]
        for name in ("who", "kind", "target"):
            self.fields[name].widget.attrs["class"] = "input"
        for name in ("since", "until"):
            self.fields[name].widget = forms.DateInput({"class": "input", "type": "date"}, format="%Y-%m-%d")

    def query(self, cluster_id: int) -> audit.Query:
        """What to look for; the form is valid."""
        wanted = {name: value or None for name, value in self.cleaned_data.items()}
        since, until = wanted.pop("since"), wanted.pop("until")
        after = self.cleaned_data["after"]
        return audit.Query(
            **{**wanted, "after": after},
            since=since and _midnight(since),
            until=until and _midnight(until) + timedelta(days=1),
            cluster_id=cluster_id,
        )


def _midnight(day: Any) -> datetime:
    return datetime.combine(day, time(), UTC)


@for_readers
def index(request: HttpRequest) -> HttpResponse:
    filters, page = Filters(request.GET), audit.Page([], None, None)
    if valid := filters.is_valid():
        page = audit.find(filters.query(cluster_id_of(request)), user_of(request))
    context = {
        "page": page,
        "filters": filters,
        "asked": _asking(request),
        "next": page.older and _asking(request, "before", page.older),
        "previous": page.newer and _asking(request, "after", page.newer),
        "chosen": [name for name in filters.changed_data if name not in ("before", "after")] if valid else [],
    }
    return render(request, "audit/list.html", context, status=200 if valid else 400)


def _asking(request: HttpRequest, name: str = "", place: int | None = None) -> str:
    """The same question, for a neighbouring page or for all pages."""
    question = request.GET.copy()
    for key in [key for key in question if key in ("before", "after") or not question[key]]:
        del question[key]
    if name:
        question[name] = str(place)
    return question.urlencode()


@for_readers
def detail(request: HttpRequest, action_id: int) -> HttpResponse:
    reader = user_of(request)
    action = Action.objects.visible_to(reader).filter(pk=min(action_id, LAST_ID)).first()
    if action is None:
        raise Http404("no such action")
    return render(request, "audit/detail.html", {"action": action, "hidden": not _may_read(reader)})


def _may_read(reader: Any) -> bool:
    """What an action carries, also one's own, may be what a job carries: its arguments before, say."""
    return access.has(reader, "view_payload")


@for_readers
def export(request: HttpRequest) -> HttpResponseBase:
    """All that the filters find, up to MOST_EXPORTED, as a file that a spreadsheet opens safely."""
    filters = Filters(request.GET)
    if not filters.is_valid():
        return index(request)
    query = replace(filters.query(cluster_id_of(request)), before=None, after=None)
    lines = _lines(audit.all_of(query, user_of(request), MOST_EXPORTED), user_of(request))
    response = StreamingHttpResponse(_streamed(lines), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="audit-{datetime.now(UTC):%Y%m%d-%H%M}.csv"'
    return response


async def _streamed(lines: Iterator[str]) -> AsyncIterator[str]:
    """Each chunk is read from the database when the one before it was sent."""
    ahead = database_sync_to_async(lambda: next(lines, None))
    while (chunk := await ahead()) is not None:
        yield chunk


def _lines(chunks: Iterator[list[Action]], reader: Any) -> Iterator[str]:
    yield _line(COLUMNS)
    count = 0
    for chunk in chunks:
        room = MOST_EXPORTED - count
        yield "".join(_line(_cells(action, reader)) for action in chunk[:room])
        count += len(chunk)
        if len(chunk) > room:
            yield _line(
                [_("The export ends here, at %(n)d rows: narrow the filters.") % {"n": MOST_EXPORTED}]
            )
            return


def _cells(action: Action, reader: Any) -> list[str]:
    shown = [name for name in COLUMNS if name not in CARRIED or _may_read(reader)]
    return [_cell(getattr(action, name)) if name in shown else "" for name in COLUMNS]


def _cell(value: Any) -> str:
    """As text; one that a spreadsheet would take for a formula stands behind an apostrophe."""
    text = "" if value is None else value.isoformat() if isinstance(value, datetime) else str(value)
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA) else text


def _line(cells: Any) -> str:
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL).writerow(cells)
    return written.getvalue()
