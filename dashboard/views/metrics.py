"""What Prometheus scrapes. It asks the database, never a broker or a worker."""

from __future__ import annotations

import gzip
from ipaddress import ip_address

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.exposition import choose_encoder

from dashboard.api.door import Token
from dashboard.api.problems import Problem, forbidden, unauthorized
from dashboard.visitors import address_of, cluster_id_of
from jobs import access
from jobs.metrics.families import text_of
from jobs.metrics.scrape import SETS, scrape

PERMISSION = "view_metrics"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
# The fastest: a scrape is large and repetitive.
LEVEL = 1


@login_not_required
@require_safe
@never_cache
def index(request: HttpRequest) -> HttpResponse:
    """All families, or those of `?set=` celery, flower, nightdesk; as text or, by Accept, OpenMetrics."""
    try:
        _let_in(request)
        sets = _asked(request)
    except Problem as problem:
        return problem.response()
    _, kind = choose_encoder(request.headers.get("Accept", ""))
    openmetrics = kind.startswith("application/openmetrics-text")
    text = text_of(scrape(cluster_id_of(request), timezone.now(), sets), openmetrics=openmetrics)
    return _packed(request, HttpResponse(text, OPENMETRICS if openmetrics else CONTENT_TYPE_LATEST))


def _let_in(request: HttpRequest) -> None:
    """Let in METRICS_ALLOW, and who may read metrics and reaches everything. Raises Problem."""
    if _is_allowed(request):
        return
    if "Authorization" in request.headers:
        Token()(request)
    if not request.user.is_authenticated:
        raise unauthorized()
    if not access.has(request.user, PERMISSION):
        raise forbidden(PERMISSION)
    if access.spans_of(request.user) is not None:
        raise Problem(403, "reach", "Metrics count everything: they need a reach over everything.")


def _is_allowed(request: HttpRequest) -> bool:
    address = address_of(request)
    return address is not None and any(ip_address(address) in network for network in settings.METRICS_ALLOW)


def _asked(request: HttpRequest) -> list[str]:
    asked = request.GET.getlist("set") or list(SETS)
    if unknown := sorted(set(asked) - SETS.keys()):
        raise Problem(422, "invalid", f"There is no set {unknown[0][:40]!r}; there are {', '.join(SETS)}.")
    return asked


def _packed(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    response["Vary"] = "Accept, Accept-Encoding"
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        response.content = gzip.compress(response.content, LEVEL)
        response["Content-Encoding"] = "gzip"
    return response
