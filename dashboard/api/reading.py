"""What the API tells of jobs, queues, workers and schedules."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import orjson
from django.http import HttpRequest
from django.utils import timezone
from ninja import Query, Router

from dashboard.api import schemas
from dashboard.api.asked import LAST_ID, JobsAsked, OfCluster, only_known
from dashboard.api.problems import Problem, forbidden, missing
from dashboard.schedule_rows import read_beat, read_schedules
from jobs import live, scopes, search
from jobs.liveness import queues_of
from jobs.models import Job, Pause, Worker
from jobs.overview import overview
from jobs.scopes import Scope
from jobs.seen import read_workers
from jobs.trust import read_trust

router = Router()


def scope_of(request: HttpRequest) -> Scope:
    """How much this token shows. Raises Problem for nothing."""
    scope = scopes.scope_of(request.user)
    if scope is None:
        raise forbidden("view_record")
    return scope


@router.get("/jobs", response=schemas.Jobs, tags=["jobs"], summary="Jobs, newest first")
def list_jobs(request: HttpRequest, asked: Query[JobsAsked]) -> dict[str, Any]:
    """A page of at most 50. A page may hold fewer, even none, and yet have a `next`: a filter that no index
    serves is looked for in a part of the record at a time."""
    only_known(request, JobsAsked)
    scope_of(request)
    page = search.find(_query(asked), request.user)
    following = None if page.older is None else str(page.older)
    return {"jobs": page.jobs, "next": following, "count": page.count, "more": page.more}


def _query(asked: JobsAsked) -> search.Query:
    """Raises Problem for a span that ends before it begins."""
    try:
        return search.Query(
            state=asked.state,
            task=asked.task,
            queue=asked.queue,
            error=asked.error,
            since=asked.since,
            until=asked.until,
            before=int(asked.cursor) if asked.cursor else None,
            cluster_id=asked.cluster_id(),
        )
    except ValueError as fault:
        raise Problem(422, "invalid", f"This can't be told: {fault}.") from None


@router.get("/jobs/~{int:job_id}", response=schemas.JobDetail, tags=["jobs"], summary="A job by its number")
def job_by_number(request: HttpRequest, job_id: int) -> dict[str, Any]:
    """For task ids that do not fit into an address."""
    return _job(request, {"pk": min(job_id, LAST_ID)})


@router.get("/jobs/{task_id}", response=schemas.JobDetail, tags=["jobs"], summary="A job by its task id")
def job_by_task_id(request: HttpRequest, task_id: str, asked: Query[OfCluster]) -> dict[str, Any]:
    """With its attempts, its progress and its result."""
    only_known(request, OfCluster)
    return _job(request, {"task_id": task_id, "cluster": asked.cluster_id()})


def _job(request: HttpRequest, key: dict[str, Any]) -> dict[str, Any]:
    scope = scope_of(request)
    found = Job.objects.visible_to(request.user).select_related("payload").filter(**key).first()
    if found is None:
        raise missing("There is no such job, or it is beyond the reach of this token.")
    frame = live.job(found, scopes.known(scope), timezone.now())
    facts = {name: getattr(found, name) for name in schemas.Job.model_fields}
    carried = {name: frame[name] for name in ("progress", "args", "kwargs", "result", "withheld", "adrift")}
    return {**facts, **carried, "exception": frame["exception"], "timeline": frame["attempts"]}


@router.get("/queues", response=schemas.Queues, tags=["queues"], summary="All queues, worst first")
def list_queues(request: HttpRequest, asked: Query[OfCluster]) -> dict[str, Any]:
    """Those that are declared, and those that have been heard of."""
    only_known(request, OfCluster)
    return _queues(request, asked.cluster_id())


@router.get("/queues/{path:name}", response=schemas.Queue, tags=["queues"], summary="A queue")
def queue(request: HttpRequest, name: str, asked: Query[OfCluster]) -> dict[str, Any]:
    """By its name, which may be any text."""
    only_known(request, OfCluster)
    for found in _queues(request, asked.cluster_id())["queues"]:
        if found["name"] == name:
            return dict(found)
    raise missing("There is no such queue, or it is beyond the reach of this token.")


def _queues(request: HttpRequest, cluster_id: int) -> dict[str, Any]:
    frame = overview(cluster_id, scopes.known(scope_of(request)), timezone.now(), most_queues=None)
    pauses = {pause.queue: pause for pause in Pause.objects.filter(cluster=cluster_id, resumed_at=None)}
    queues = [_queue(told, pauses.get(told["name"])) for told in frame["queues"]]
    return {"word": frame["word"], "queues": queues}


def _queue(told: dict[str, Any], pause: Pause | None) -> dict[str, Any]:
    return {**told, "incoming": told["in"], "outgoing": told["out"], "paused": pause}


@router.get("/workers", response=schemas.Workers, tags=["workers"], summary="All workers, worst first")
def list_workers(request: HttpRequest, asked: Query[OfCluster]) -> dict[str, Any]:
    """Those that are there, and those that should be."""
    only_known(request, OfCluster)
    return {"workers": _workers(request, asked.cluster_id())}


@router.get("/workers/{path:name}", response=schemas.Worker, tags=["workers"], summary="A worker by its name")
def worker(request: HttpRequest, name: str, asked: Query[OfCluster]) -> dict[str, Any]:
    """The incarnation that was heard last."""
    only_known(request, OfCluster)
    found = [one for one in _workers(request, asked.cluster_id()) if one["name"] == name]
    if not found:
        raise missing("There is no such worker.")
    return max(found, key=lambda one: one["seen_at"])


def _workers(request: HttpRequest, cluster_id: int) -> list[dict[str, Any]]:
    scope = scope_of(request)
    known = read_workers(cluster_id, read_trust(cluster_id, timezone.now()))
    return [_worker(one, state, scope) for one, state in known]


def _worker(one: Worker, state: str, scope: Scope) -> dict[str, Any]:
    facts = {name: getattr(one, name) for name in schemas.Worker.model_fields if name != "state"}
    queues = None if one.queues is None else [name for name in queues_of(one) if scope.covers_queue(name)]
    setup = None if one.setup is None else orjson.loads(one.setup)
    return {**facts, "state": state, "queues": queues, "setup": setup}


@router.get(
    "/schedules", response=schemas.Schedules, tags=["schedules"], summary="All schedules, worst first"
)
def list_schedules(request: HttpRequest) -> dict[str, Any]:
    """As far as the reach of this token goes."""
    scope, now = scope_of(request), timezone.now()
    shown = [asdict(one) for one in read_schedules(now, scope)]
    return {"beat": read_beat(now)["state"], "schedules": shown}
