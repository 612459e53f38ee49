"""Tasks: all that were heard of lately, worst first, and one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import forms
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django_celery_beat.models import PeriodicTask

from dashboard import task_charts
from dashboard.schedule_rows import queue_of
from dashboard.visitors import cluster_id_of, scope_of_visitor, user_of
from jobs import scopes, task_frame
from jobs.access import Span, patterns
from jobs.models import Alert, Rule
from jobs.models.alerts import Kind
from jobs.scopes import Scope
from jobs.seen import read_workers
from jobs.task_windows import WINDOWS
from jobs.trust import read_trust
from workers import signatures

USUAL = "24h"
MOST_SCHEDULES, MOST_ALERTS, MOST_PAGES = 20, 20, 1_000
OF_TASKS = (Kind.FAILURE_SHARE, Kind.FAILURE_RISE, Kind.SLOW, Kind.NO_SUCCESS, Kind.NEW_ERROR)
WORDS: dict[str, str | Promise] = {
    "1h": gettext_lazy("Last hour"),
    "24h": gettext_lazy("24 hours"),
    "7d": gettext_lazy("7 days"),
}


class Asked(forms.Form):
    """Which tasks, over which time."""

    window = forms.ChoiceField(choices=[(name, name) for name in WINDOWS], required=False)
    search = forms.CharField(max_length=255, required=False)
    page = forms.IntegerField(min_value=1, max_value=MOST_PAGES, required=False)

    @property
    def told(self) -> tuple[str, str, int]:
        """The window, the text to look for and the page; what can't be read is as usual."""
        self.is_valid()
        told = self.cleaned_data
        return told.get("window") or USUAL, told.get("search") or "", told.get("page") or 1


@dataclass(frozen=True)
class Choice:
    """A window to choose: its words, and the query string of the page with it."""

    words: str | Promise
    query: str
    chosen: bool


def _choices(asked: QueryDict, chosen: str) -> list[Choice]:
    found = []
    for name, words in WORDS.items():
        question = asked.copy()
        question["window"] = name
        question.pop("page", None)
        found.append(Choice(words, question.urlencode(), name == chosen))
    return found


@require_safe
@never_cache
def index(request: HttpRequest) -> HttpResponse:
    scope, cluster_id, now = scopes.named(scope_of_visitor(request)), cluster_id_of(request), timezone.now()
    window, searched, page = Asked(request.GET).told
    trust = read_trust(cluster_id, now)
    workers = read_workers(cluster_id, trust)
    frame = task_frame.tasks(cluster_id, scope, now, window, searched, workers, page)
    for row in frame["tasks"]:
        row["drawn"] = row["trend"] and task_charts.trend(row["trend"])
    context = {
        "frame": frame,
        "windows": _choices(request.GET, window),
        "window_words": WORDS[window],
        "searched": searched,
        "record": trust.record(),
    }
    return render(request, "tasks/list.html", context)


@require_safe
@never_cache
def detail(request: HttpRequest, name: str) -> HttpResponse:
    scope, cluster_id, now = scopes.named(scope_of_visitor(request)), cluster_id_of(request), timezone.now()
    window = Asked(request.GET).told[0]
    if not scope.covers_task(name):
        raise Http404("no such task")
    own = name in signatures.own_task_names() and scope.covers(name, signatures.route_of(name))
    frame = task_frame.task(name, cluster_id, scope, now, window, user_of(request))
    if frame is None and not own:
        raise Http404("no such task")
    context = {
        "name": name,
        "frame": frame,
        "chart": frame and task_charts.chart(frame["trend"]),
        "windows": _choices(request.GET, window),
        "window_words": WORDS[window],
        "does": signatures.documentation(name).partition("\n")[0] if own else "",
        "run": f"{reverse('run')}?{_query(task=name)}" if own else "",
        **_around(name, cluster_id, scope),
    }
    return render(request, "tasks/detail.html", context)


def _query(**named: str) -> str:
    query = QueryDict(mutable=True)
    query.update(named)
    return query.urlencode()


def _around(name: str, cluster_id: int, scope: Scope) -> dict[str, Any]:
    """What sends the task, and what watches it; three statements."""
    alerts = Alert.objects.within(scope).filter(cluster=cluster_id, resolved_at=None, task=name)
    return {
        "schedules": _schedules(name, scope),
        "alerts": alerts.select_related("rule").order_by("-since")[:MOST_ALERTS],
        "rules": [
            rule
            for rule in Rule.objects.filter(enabled=True, kind__in=OF_TASKS)
            if Span(("*",), patterns(rule.tasks)).covers_task(name)
        ],
    }


def _schedules(name: str, scope: Scope) -> list[PeriodicTask]:
    rows = PeriodicTask.objects.filter(task=name).order_by("-enabled", "name")[:MOST_SCHEDULES]
    return [row for row in rows if scope.covers(row.task, queue_of(row))]
