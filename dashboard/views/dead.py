"""Dead letters: the list, the page of one, and the pages that ask before some are sent again or given up."""

from __future__ import annotations

from collections.abc import Sequence

from django import forms
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from dashboard import dead_rows as rows
from dashboard.acting import act, asking, refused
from dashboard.visitors import cluster_id_of, hindrance, scope_of_visitor, user_of
from jobs import dead_letters, search
from jobs.dead_letters import Query
from jobs.models import DeadLetter
from jobs.models.dead import Death, Settled
from jobs.perform import Refused, lacking
from workers.commands.bulk import TYPED_ABOVE
from workers.commands.dead import MOST, Discard, Requeue, open_letters, why_not_requeue

LAST_ID = 2**63 - 1
Asked = Requeue | Discard
SAMPLES = 12


class Filters(forms.Form):
    """The filters of the list, from the query string."""

    why = forms.ChoiceField(
        label=gettext_lazy("Why"), choices=[("", gettext_lazy("Any")), *Death.choices], required=False
    )
    task = forms.CharField(label=gettext_lazy("Task"), max_length=255, required=False, widget=forms.Select)
    queue = forms.CharField(label=gettext_lazy("Queue"), max_length=255, required=False, widget=forms.Select)
    settled = forms.ChoiceField(
        label=gettext_lazy("Settled"),
        choices=[
            ("", gettext_lazy("Waiting")),
            (Settled.REQUEUED, gettext_lazy("Requeued")),
            (Settled.DISCARDED, gettext_lazy("Discarded")),
        ],
        required=False,
    )
    before = forms.IntegerField(
        min_value=1, max_value=LAST_ID, required=False, widget=forms.HiddenInput, label=""
    )

    def __init__(self, asked: QueryDict, tasks: Sequence[str], queues: Sequence[str]) -> None:
        super().__init__(asked)
        self._offer("task", tasks)
        self._offer("queue", queues)

    def _offer(self, name: str, known: Sequence[str]) -> None:
        asked = self.data.get(name)
        offered = [*known, asked] if asked and asked not in known else known
        self.fields[name].widget.choices = [("", _("Any")), *((value, value) for value in offered)]

    @property
    def set_asked(self) -> dict[str, str]:
        """Those that name a set that can be acted on whole."""
        told = {name: self.cleaned_data.get(name) for name in ("why", "task", "queue")}
        return {name: str(value) for name, value in told.items() if value}


class Chosen(forms.Form):
    """What a page that asks is about: some letters, or all that a filter finds."""

    why = forms.CharField(required=False, max_length=12)
    task = forms.CharField(required=False, max_length=255)
    queue = forms.CharField(required=False, max_length=255)
    upto = forms.IntegerField(required=False, min_value=1, max_value=LAST_ID)
    confirm = forms.IntegerField(required=False, error_messages={"invalid": gettext_lazy("Give a number.")})


@require_safe
@never_cache
def index(request: HttpRequest) -> HttpResponse:
    scope_of_visitor(request)
    cluster_id, user = cluster_id_of(request), user_of(request)
    kinds = dead_letters.kinds(cluster_id, user)
    names = search.names(cluster_id, user, timezone.now())
    tasks = sorted({kind.task for kind in kinds if kind.task} | set(names.tasks))
    filters = Filters(request.GET, tasks, names.queues)
    readable = filters.is_valid()
    page = dead_letters.find(_query(filters, cluster_id), user) if readable else None
    context = {
        "filters": filters,
        "page": page,
        "rows": rows.rows(page.letters) if page else [],
        "kinds": rows.kinds(kinds),
        "count": _count(page) if page else "",
        "next": _asking(request.GET, page.older) if page else None,
        "waits": readable and not filters.cleaned_data["settled"],
        "set": filters.set_asked if readable else {},
    }
    return render(request, "dead/list.html", context, status=200 if readable else 400)


def _query(filters: Filters, cluster_id: int) -> Query:
    told = filters.cleaned_data
    wanted = {name: told[name] or None for name in ("why", "task", "queue", "before")}
    return Query(**wanted, settled=told["settled"], cluster_id=cluster_id)


def _count(page: dead_letters.Page) -> str:
    number = f"{page.count:,}+" if page.more else f"{page.count:,}"
    return ngettext("%(number)s letter", "%(number)s letters", page.count) % {"number": number}


def _asking(asked: QueryDict, place: int | None) -> str | None:
    """The same question for the next page."""
    if place is None:
        return None
    question = asked.copy()
    question["before"] = str(place)
    return question.urlencode()


@require_safe
@never_cache
def detail(request: HttpRequest, letter_id: int) -> HttpResponse:
    scope_of_visitor(request)
    visible = DeadLetter.objects.visible_to(request.user).select_related("action")
    letter: DeadLetter | None = visible.filter(pk=min(letter_id, LAST_ID)).first()
    if letter is None:
        raise Http404("no such letter")
    found = why_not_requeue([letter]).get(letter.pk)
    context = {
        **rows.detail(letter, user_of(request)),
        "why_not_requeue": hindrance(request, Requeue, letter.task, letter.queue) or str(found or ""),
        "why_not_discard": hindrance(request, Discard, letter.task, letter.queue),
    }
    return render(request, "dead/detail.html", context)


@asking
def requeue(request: HttpRequest) -> HttpResponse:
    return _ask(request, Requeue, "dead/requeue.html", _("Sent again: what becomes of it is in the record."))


@asking
def discard(request: HttpRequest) -> HttpResponse:
    return _ask(request, Discard, "dead/discard.html", _("Discarded. Nothing was sent."))


def _ask(request: HttpRequest, command: type[Asked], template: str, said: str) -> HttpResponse:
    scope_of_visitor(request)
    try:
        wanted = _wanted(request, command)
    except Refused as refusal:
        return refused(request, refusal.code, str(refusal), reverse("dead-letters"))
    if request.method == "POST":
        return act(request, wanted, _back(wanted), said)
    return _question(request, wanted, template)


def _wanted(request: HttpRequest, command: type[Asked]) -> Asked:
    """What a form or an address asks for. Raises Refused."""
    asked = request.POST if request.method == "POST" else request.GET
    form, numbers = Chosen(asked), asked.getlist("letter")
    if not form.is_valid() or not all(one.isdecimal() and len(one) < 19 for one in numbers):
        raise Refused("form", _("What was chosen can't be read: choose again."))
    told = form.cleaned_data
    filters = {name: told[name] or None for name in ("why", "task", "queue") if not numbers}
    return command(
        letters=tuple(map(int, numbers)),
        **filters,
        upto=told["upto"],
        confirm=told["confirm"],
        cluster_id=cluster_id_of(request),
    )


def _back(wanted: Asked) -> str:
    if len(wanted.letters) == 1:
        return reverse("dead-letter", args=wanted.letters)
    return reverse("dead-letters")


def _why_not(request: HttpRequest, command: type[Asked], letters: Sequence[DeadLetter]) -> str:
    """Why the visitor may not; of many, each was measured by itself already."""
    if len(letters) == 1:
        return hindrance(request, command, letters[0].task, letters[0].queue)
    user = user_of(request)
    return str(lacking(user, command.permission) or lacking(user, "act_in_bulk") or "")


def _question(request: HttpRequest, wanted: Asked, template: str) -> HttpResponse:
    letters = list(open_letters(wanted, user_of(request)).defer(*dead_letters.LONG)[: MOST + 1])
    more, letters = len(letters) > MOST, letters[:MOST]
    hindrances = why_not_requeue(letters) if isinstance(wanted, Requeue) else {}
    context = {
        "wanted": wanted,
        "count": len(letters),
        "possible": len(letters) - len(hindrances),
        "more": more,
        "upto": max((letter.pk for letter in letters), default=None),
        "kinds": rows.kinds_of(letters),
        "samples": rows.rows(letters[:SAMPLES]),
        "reasons": rows.reasons(hindrances.values()),
        "raw": any(letter.job_id is None and letter.pk not in hindrances for letter in letters),
        "typed": len(letters) > TYPED_ABOVE,
        "why": _why_not(request, type(wanted), letters),
        "back": _back(wanted),
    }
    return render(request, template, context)
