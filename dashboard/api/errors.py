"""What the API tells of errors."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from ninja import Query, Router

from dashboard.api import schemas
from dashboard.api.asked import LAST_ID, ErrorsAsked, only_known
from dashboard.api.problems import missing
from dashboard.api.reading import scope_of
from dashboard.error_rows import cursor_of, place_of
from dashboard.visitors import user_of
from jobs.errors import reading
from jobs.errors.reading import Listed
from jobs.models import Error

router = Router()


class ErrorTold(schemas.Told):
    """Failed jobs of one cause. `status` is unresolved, regressed, resolved or ignored; `times` counts all of
    its jobs, `quarter` those of 15 minutes, `hour` of one, `hours` of each of 24, the running one last."""

    id: int
    fingerprint: str
    task: str
    queue: str
    exception: str
    message: str | None
    frame: str | None
    status: str
    times: int
    quarter: int
    hour: int
    hours: list[int]
    first_at: datetime
    last_at: datetime
    first_release: str | None
    last_release: str | None
    last_job: int | None
    resolved_at: datetime | None
    resolved_by: str
    ignored_until: datetime | None
    ignored_above: int | None
    returned_at: datetime | None
    assignee: str
    note: str


class ErrorsTold(schemas.Told):
    """A page, those seen last first. `next` is the cursor of the following one."""

    errors: list[ErrorTold]
    next: str | None


@router.get(
    "/errors",
    response=ErrorsTold,
    tags=["errors"],
    summary="Failures by their cause, those seen last first",
)
def list_errors(request: HttpRequest, asked: Query[ErrorsAsked]) -> dict[str, Any]:
    """A page of at most 50 of those that are unresolved or regressed; with `show`, of others."""
    only_known(request, ErrorsAsked)
    scope_of(request)
    query = reading.Query(
        view=asked.show or "open",
        task=asked.task,
        assignee=asked.assignee,
        before=place_of(asked.cursor),
        cluster_id=asked.cluster_id(),
    )
    page = reading.find(query, user_of(request), timezone.now())
    rows = sorted(page.listed, key=lambda row: (row.error.last_at, row.error.pk), reverse=True)
    return {"errors": [_told(row) for row in rows], "next": cursor_of(page.older)}


@router.get("/errors/{int:error_id}", response=ErrorTold, tags=["errors"], summary="An error")
def error(request: HttpRequest, error_id: int) -> dict[str, Any]:
    """With how many jobs it took lately; its jobs are `/jobs?error=`."""
    scope_of(request)
    found = Error.objects.visible_to(request.user).filter(pk=min(error_id, LAST_ID)).first()
    if found is None:
        raise missing("There is no such error, or it is beyond the reach of this token.")
    [row] = reading.listed([found], user_of(request), timezone.now())
    return _told(row)


def _told(row: Listed) -> dict[str, Any]:
    facts = {name: getattr(row.error, name) for name in ErrorTold.model_fields if hasattr(row.error, name)}
    lately = {"quarter": row.quarter, "hour": row.hour, "hours": list(row.hours)}
    return {**facts, **lately, "message": row.error.message or None, "frame": row.error.frame or None}
