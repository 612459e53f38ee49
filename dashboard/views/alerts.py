"""Alerts: what fires now, what did, and the page of one."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from dashboard import alert_chart, alert_rows
from dashboard.alert_rows import Asked
from dashboard.alert_text import summary
from dashboard.alert_words import facts
from dashboard.context import memory
from dashboard.visitors import cluster_id_of, scope_of_visitor, user_of
from jobs import alert_trends, live, scopes
from jobs.alert_story import story
from jobs.models import Alert, Notice, Rule

LAST_ID = 2**63 - 1
SHOWN = 10


class Filters(forms.Form):
    """What to list, from the query string."""

    queue = forms.CharField(label=gettext_lazy("Queue"), max_length=255, required=False, widget=forms.Select)
    team = forms.IntegerField(
        label=gettext_lazy("Team"), min_value=1, max_value=LAST_ID, required=False, widget=forms.Select
    )
    before = forms.IntegerField(min_value=1, max_value=LAST_ID, required=False, widget=forms.HiddenInput)

    def __init__(self, asked: Any, queues: list[str], teams: list[tuple[int, str]]) -> None:
        super().__init__(asked)
        wanted = asked.get("queue")
        offered = [*queues, wanted] if wanted and wanted not in queues else queues
        self.fields["queue"].widget.choices = [("", _("Any")), *((name, name) for name in offered)]
        self.fields["team"].widget.choices = [("", _("Any")), *teams]

    def asked(self) -> Asked:
        """From a valid form."""
        told = self.cleaned_data
        return Asked(told["queue"] or None, told["team"], told["before"])


@require_safe
@never_cache
def index(request: HttpRequest) -> HttpResponse:
    """What fires, what is silenced or about to fire, and the history."""
    scope_of_visitor(request)
    cluster_id, now, user = cluster_id_of(request), timezone.now(), user_of(request)
    filters = Filters(request.GET, alert_rows.queues_known(cluster_id, user), alert_rows.teams_known())
    asked = filters.asked() if filters.is_valid() else Asked()
    history, older = alert_rows.read_history(asked, cluster_id, user, now)
    standing = alert_rows.read_open(asked, cluster_id, user, now, memory)
    told = bool(asked.queue or asked.team)
    frame = live.alerts(cluster_id, scope_of_visitor(request), now)
    context = {
        "frame": frame,
        "alerting": frame,
        "open": standing,
        "something": told or bool(history or standing.firing or standing.silenced or standing.pending),
        "rules_on": Rule.objects.filter(enabled=True).count(),
        "history": history,
        "older": _older(request, older),
        "filters": filters,
        "filtered": told,
        "first_page": asked.before is None,
    }
    return render(request, "alerts/list.html", context, status=200 if filters.is_valid() else 400)


def _older(request: HttpRequest, place: int | None) -> str | None:
    """The same question for the page before."""
    if place is None:
        return None
    question = request.GET.copy()
    question["before"] = str(place)
    return question.urlencode()


@require_safe
@never_cache
def detail(request: HttpRequest, alert_id: int) -> HttpResponse:
    """The evidence, the chart, what changed before, and what became of it."""
    alert, now = alert_of(request, alert_id), timezone.now()
    series = alert_trends.series(alert, now, scopes.named(scope_of_visitor(request)))
    changes = alert_chart.lettered(story(alert, user_of(request), now), series)
    address = request.build_absolute_uri(reverse("alert", args=[alert.pk]))
    context = {
        "row": alert_rows.row_of(alert, now),
        "alert": alert,
        "facts": facts(alert, now.timestamp()),
        "measure": series.measure if series else None,
        "chart": series and alert_chart.chart(series, alert.since.timestamp(), _limit(alert), changes),
        "changes": changes,
        "related": alert_rows.related(alert),
        "others": _others(request, alert),
        "life": list(alert.changes.all()[:200]),
        "notices": Notice.objects.filter(alert=alert).select_related("channel").order_by("-pk")[:SHOWN],
        "summary": summary(alert, [change for _, change in changes], address, now),
        "now": now,
    }
    return render(request, "alerts/detail.html", context)


def alert_of(request: HttpRequest, alert_id: int) -> Alert:
    """The alert, if the visitor may see it. Raises Http404."""
    scope_of_visitor(request)
    seen = Alert.objects.visible_to(user_of(request)).select_related("rule__team")
    found: Alert | None = seen.filter(pk=min(alert_id, LAST_ID)).first()
    if found is None:
        raise Http404("no such alert")
    return found


def _limit(alert: Alert) -> float | None:
    limit = alert.evidence.get("limit")
    return float(limit) if isinstance(limit, int | float) else None


def _others(request: HttpRequest, alert: Alert) -> list[alert_rows.Row]:
    """The times that the same rule fired before for the same."""
    same = Alert.objects.visible_to(user_of(request)).filter(rule=alert.rule, key=alert.key, pk__lt=alert.pk)
    now = timezone.now()
    return [alert_rows.row_of(other, now) for other in same.select_related("rule").order_by("-pk")[:SHOWN]]
