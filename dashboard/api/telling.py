"""What the API tells of people's actions, of many jobs at once, of figures, and of itself."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import celery
import orjson
from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from ninja import Query, Router

from dashboard.api import schemas
from dashboard.api.asked import LAST_ID, ActionsAsked, PageAsked, StatsAsked, only_known
from dashboard.api.problems import Problem, forbidden, missing
from dashboard.api.reading import scope_of
from dashboard.health import readiness
from dashboard.visitors import user_of
from jobs import access, audit, bulks, stats
from jobs.models import Action, Bearer, Bulk, Cluster, Job
from jobs.rollups import Sketch
from jobs.values import storable_json

PAGE_SIZE = 50
HOUR = timedelta(hours=1)
# What an action has of what jobs carry.
CARRIED = ("arguments", "before", "after")

router = Router()


@router.get("/actions", response=schemas.Actions, tags=["actions"], summary="Who did what, newest first")
def list_actions(request: HttpRequest, asked: Query[ActionsAsked]) -> dict[str, Any]:
    """A page of at most 50; needs the permission view_audit."""
    only_known(request, ActionsAsked)
    scope_of(request)
    if not access.has(request.user, "view_audit"):
        raise forbidden("view_audit")
    page = audit.find(_question(asked), user_of(request))
    following = None if page.older is None else str(page.older)
    return {"actions": [action_told(request, action) for action in page.actions], "next": following}


def _question(asked: ActionsAsked) -> audit.Query:
    return audit.Query(
        who=asked.who,
        command=asked.command,
        kind=asked.kind,
        target=asked.target,
        outcome=asked.outcome,
        via=asked.via,
        since=asked.since,
        until=asked.until,
        before=int(asked.cursor) if asked.cursor else None,
    )


@router.get(
    "/actions/{int:action_id}", response=schemas.Action, tags=["actions"], summary="What came of an action"
)
def action(request: HttpRequest, action_id: int) -> dict[str, Any]:
    """One's own, or with the permission view_audit any that is within reach."""
    scope_of(request)
    own = Action.objects.filter(user=request.user.pk)
    seen = Action.objects.visible_to(user_of(request))
    key = min(action_id, LAST_ID)
    found = own.filter(pk=key).first() or seen.filter(pk=key).first()
    if found is None:
        raise missing("There is no such action, or it is not for this token to see.")
    return action_told(request, found)


def action_told(request: HttpRequest, action: Action) -> dict[str, Any]:
    """An action as its reader may see it."""
    facts = {name: getattr(action, name) for name in schemas.Action.model_fields}
    shown = access.has(request.user, "view_payload")
    return {**facts, **{name: _json(facts[name]) if shown else None for name in CARRIED}}


def _json(text: str | None) -> Any:
    """What was kept as JSON, as an answer can hold it."""
    if text is None:
        return None
    try:
        return orjson.loads(text)
    except ValueError:  # half a surrogate pair, from before the audit kept them out
        return orjson.loads(storable_json(json.loads(text)))


def _page(rows: QuerySet[Any], cursor: str | None) -> tuple[list[Any], str | None]:
    """The rows before the cursor, newest first, and where the next page begins."""
    older = rows if cursor is None else rows.filter(pk__lt=int(cursor))
    found = list(older.order_by("-pk")[: PAGE_SIZE + 1])
    shown = found[:PAGE_SIZE]
    return shown, str(shown[-1].pk) if len(found) > PAGE_SIZE else None


@router.get("/bulks", response=schemas.Bulks, tags=["bulks"], summary="Many jobs at once, newest first")
def list_bulks(request: HttpRequest, asked: Query[PageAsked]) -> dict[str, Any]:
    """One's own; and whoever reaches everything sees those of others that were begun."""
    only_known(request, PageAsked)
    scope_of(request)
    found, following = _page(bulks.visible_to(request.user), asked.cursor)
    return {"bulks": found, "next": following}


@router.get("/bulks/{int:bulk_id}", response=schemas.BulkDetail, tags=["bulks"], summary="How far a bulk is")
def bulk(request: HttpRequest, bulk_id: int) -> dict[str, Any]:
    """With its preview: what is in the set, and what can't be acted on. Names beyond reach are left out."""
    found = _bulk(request, bulk_id)
    preview = bulks.Preview.read(found.preview).within(scope_of(request))
    samples = Job.objects.visible_to(request.user).in_bulk(preview.samples)
    return {
        **{name: getattr(found, name) for name in schemas.Bulk.model_fields},
        "filter": _json(found.filter),
        **{name: _named(getattr(preview, name)) for name in ("states", "tasks", "queues", "reasons")},
        "samples": [samples[pk].task_id for pk in preview.samples if pk in samples],
    }


def _named(counts: dict[Any, int]) -> dict[str, int]:
    return {"?" if name is None else name: count for name, count in counts.items()}


@router.get(
    "/bulks/{int:bulk_id}/items", response=schemas.BulkItems, tags=["bulks"], summary="The jobs of a bulk"
)
def bulk_items(request: HttpRequest, bulk_id: int, asked: Query[PageAsked]) -> dict[str, Any]:
    """A page of at most 50, newest jobs first; jobs beyond reach are left out."""
    only_known(request, PageAsked)
    found, following = _page(_bulk(request, bulk_id).items.all(), asked.cursor)
    return {"items": bulks.within(scope_of(request), found), "next": following}


def _bulk(request: HttpRequest, bulk_id: int) -> Bulk:
    scope_of(request)
    found = bulks.visible_to(request.user).filter(pk=min(bulk_id, LAST_ID)).first()
    if found is None:
        raise missing("There is no such bulk, or it is not for this token to see.")
    return found


@router.get("/stats", response=schemas.Stats, tags=["figures"], summary="What happened in a span")
def read_stats(request: HttpRequest, asked: Query[StatsAsked]) -> dict[str, Any]:
    """Counts by step and durations over the whole span, as far as this token reaches."""
    only_known(request, StatsAsked)
    scope_of(request)
    now = timezone.now()
    until = asked.until or now
    since = asked.since or until - HOUR
    try:
        span = stats.Span.around(since, until, asked.step)
        found = stats.read(asked.cluster_id(), request.user, span, asked.task, asked.queue)
    except ValueError as fault:
        raise Problem(422, "invalid", f"This can't be told: {fault}.") from None
    return _stats_told(span, found)


def _stats_told(span: stats.Span, found: stats.Stats) -> dict[str, Any]:
    total = found.total
    judged = total["succeeded"] + total["failed"]
    steps = [{"at": span.at(number), **found.steps[number].counts} for number in sorted(found.steps)]
    return {
        "since": span.at(span.first),
        "until": span.at(span.after),
        "step": span.step,
        "total": total,
        "success": total["succeeded"] / judged if judged else None,
        "latency": {measure: _durations(sketch) for measure, sketch in found.durations.items()},
        "steps": steps,
    }


def _durations(sketch: Sketch) -> dict[str, Any]:
    quantiles = {name: sketch.quantile(q) for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
    return {"count": sketch.count, "mean": sketch.mean, **quantiles}


@router.get("/health", response=schemas.Health, tags=["about"], summary="Whether the whole works")
def health(request: HttpRequest) -> dict[str, Any]:
    """As /readyz tells it: monitor, broker, Beat, workers, and how far the record is. See `ok`."""
    scope_of(request)
    return readiness(Cluster.DEFAULT_ID, timezone.now())


@router.get("/version", response=schemas.Version, tags=["about"], summary="What answers here")
def version(request: HttpRequest) -> dict[str, Any]:
    """The release is that of the installation's own tasks."""
    return {
        "api": "v1",
        "release": settings.RELEASE or None,
        "celery": celery.__version__,
        "site": settings.SITE_NAME,
        "environment": settings.ENVIRONMENT,
        "read_only": settings.READ_ONLY,
    }


@router.get("/me", response=schemas.Me, tags=["about"], summary="The token that asks")
def me(request: HttpRequest) -> dict[str, Any]:
    """Whose it is, and what it may do now."""
    bearer = request.user
    assert isinstance(bearer, Bearer)
    return {
        "user": bearer.get_username(),
        "token": bearer.token.name,
        "prefix": bearer.token.prefix,
        "permissions": [name for name in access.PERMISSIONS if access.has(bearer, name)],
        "expires_at": bearer.token.expires_at,
    }
