"""Whether this process lives, and whether the whole works. Both ask no broker and no worker."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from jobs.job_frame import epoch
from jobs.liveness import LAG_LIMIT, heartbeat_state
from jobs.models import Cluster, Heartbeat
from jobs.seen import read_workers
from jobs.trust import Trust, read_trust

Check = dict[str, Any]


@login_not_required
@require_safe
@never_cache
def lives(request: HttpRequest) -> HttpResponse:
    """200 as long as this process answers; asks nobody, not even the database."""
    return HttpResponse("ok\n", "text/plain")


@login_not_required
@require_safe
@never_cache
def ready(request: HttpRequest) -> HttpResponse:
    """200 if all works, else 503; the details only with a session or the token.

    {"ok": bool, "at": epoch seconds, "checks": {name: {"ok": bool, "at": epoch seconds or null, …}}}
    """
    report = readiness(Cluster.DEFAULT_ID, timezone.now())
    status = 200 if report["ok"] else 503
    answer = JsonResponse(report, status=status) if _may_know(request) else HttpResponse(status=status)
    # Not an error of this process: a probe that asks every second would fill the log.
    answer._has_been_logged = True  # type: ignore[attr-defined]
    return answer


def _may_know(request: HttpRequest) -> bool:
    given = request.headers.get("Authorization", "")
    if settings.READY_TOKEN and constant_time_compare(given, f"Bearer {settings.READY_TOKEN}"):
        return True
    try:
        return bool(request.user.is_authenticated)
    except DatabaseError:
        return False


def readiness(cluster_id: int, now: datetime) -> dict[str, Any]:
    """What the database tells of all parts, each with the moment it was last known."""
    try:
        trust = read_trust(cluster_id, now)
        workers = _workers(cluster_id, trust)
    except DatabaseError:
        checks = {"database": _check(ok=False, at=now)}
    else:
        checks = {"database": _check(ok=True, at=now), "workers": workers, **_parts(trust)}
    return {"ok": all(check["ok"] for check in checks.values()), "at": now.timestamp(), "checks": checks}


def _check(*, ok: bool, at: datetime | None, **details: object) -> Check:
    return {"ok": ok, "at": epoch(at), **details}


def _parts(trust: Trust) -> dict[str, Check]:
    monitor, reading = trust.heartbeats.get("monitor"), trust.reading
    sees = heartbeat_state(monitor, trust.now) == "online"
    return {
        "monitor": _check(ok=sees, at=monitor.at if monitor else None),
        "broker": _check(ok=trust.broker_ok is True, at=_at(trust.heartbeats.get("broker"))),
        "beat": _check(
            ok=heartbeat_state(trust.heartbeats.get("beat"), trust.now) == "online",
            at=_at(trust.heartbeats.get("beat")),
        ),
        "stream": _check(
            ok=sees and (reading.lag or 0.0) <= LAG_LIMIT, at=reading.committed, lag=reading.lag
        ),
        "last_event": _check(ok=sees, at=reading.last_event),
    }


def _at(heartbeat: Heartbeat | None) -> datetime | None:
    return heartbeat.at if heartbeat else None


def _workers(cluster_id: int, trust: Trust) -> Check:
    known = read_workers(cluster_id, trust)
    online = sum(state == "online" for _, state in known)
    fresh = heartbeat_state(trust.heartbeats.get("monitor"), trust.now) == "online"
    return _check(ok=fresh and online > 0, at=trust.as_of, online=online, known=len(known))
