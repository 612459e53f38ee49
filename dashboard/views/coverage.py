"""Coverage: can the record be believed, and what would make it more; gaps, and what was set aside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from dashboard import coverage_rows as rows
from dashboard.limit_words import Words, words_of
from dashboard.quarantine_words import Meaning, meaning_of
from dashboard.visitors import cluster_id_of, scope_of_visitor
from jobs import coverage, scopes
from jobs.coverage import Coverage
from jobs.limits import Limit
from jobs.models import Gap, Quarantine
from jobs.scopes import EVERYTHING
from jobs.worker_limits import affected

PAGE = 50
LAST_ID = 2**63 - 1


@dataclass(frozen=True)
class Finding:
    """A limit and its words."""

    limit: Limit
    words: Words


@dataclass(frozen=True)
class SetAside:
    """What was quarantined for one reason, and what that means."""

    row: Quarantine
    meaning: Meaning


class Place(forms.Form):
    """Where a page of gaps begins."""

    before = forms.IntegerField(min_value=1, max_value=LAST_ID, required=False)


@require_safe
@never_cache
def index(request: HttpRequest) -> HttpResponse:
    scope_of_visitor(request)
    seen = coverage.read_coverage(cluster_id_of(request), timezone.now())
    return render(request, "coverage/index.html", _context(seen))


def _context(seen: Coverage) -> dict[str, Any]:
    limits = coverage.limits(seen)
    findings = [Finding(limit, words_of(limit)) for limit in limits]
    counted = [finding for finding in findings if finding.limit.counts]
    workers = rows.worker_rows(seen)
    return {
        "seen": seen,
        "record": seen.trust.record(),
        "sight": [finding for finding in counted if finding.limit.effect == "sight"],
        "risks": [finding for finding in counted if finding.limit.effect == "jobs"],
        "notes": [finding for finding in findings if not finding.limit.counts],
        "worst": limits[0].tone if counted else "",
        "claims": rows.claim_rows(coverage.claims(seen, limits)),
        "titles": {finding.limit.code: finding.words.title for finding in findings},
        "workers": workers,
        "left_out": len(seen.workers) - len(workers),
        "faults": affected(seen.present),
        "server": rows.server_rows(seen.server.facts) if seen.server else None,
        "rabbitmq": rows.rabbit_rows(seen.rabbits) if seen.rabbits else None,
        "stream": rows.stream_words(seen),
    }


@require_safe
@never_cache
def gaps(request: HttpRequest) -> HttpResponse:
    scope_of_visitor(request)
    place = Place(request.GET)
    before = place.cleaned_data["before"] if place.is_valid() else None
    found = list(coverage.latest_gaps(cluster_id_of(request), before or LAST_ID)[: PAGE + 1])
    return render(
        request,
        "coverage/gaps.html",
        {
            "gaps": found[:PAGE],
            "older": _older(found),
            "first_page": before is None,
            "place": place,
            "kept": settings.RETENTION.processes.total_seconds(),
        },
        status=200 if place.is_valid() else 400,
    )


def _older(found: list[Gap]) -> int | None:
    return found[PAGE - 1].pk if len(found) > PAGE else None


@require_safe
@never_cache
def quarantine(request: HttpRequest) -> HttpResponse:
    scope = scopes.named(scope_of_visitor(request))
    found = coverage.read_quarantine(cluster_id_of(request))
    aside = [SetAside(row, meaning_of(row.reason)) for row in found]
    # A sample is an event as it came: of any job, with all that it carries.
    return render(request, "coverage/quarantine.html", {"aside": aside, "hidden": scope != EVERYTHING})
