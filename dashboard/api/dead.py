"""What the API tells of dead letters."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Query, Router

from dashboard import dead_rows
from dashboard.api import schemas
from dashboard.api.asked import LAST_ID, DeadLettersAsked, only_known
from dashboard.api.problems import missing
from dashboard.api.reading import scope_of
from dashboard.visitors import user_of
from jobs import dead_letters
from jobs.models import DeadLetter
from jobs.models.dead import Settled

router = Router()


@router.get(
    "/dead-letters",
    response=schemas.DeadLetters,
    tags=["dead letters"],
    summary="Jobs and messages that nobody runs any more, newest first",
)
def list_dead_letters(request: HttpRequest, asked: Query[DeadLettersAsked]) -> dict[str, Any]:
    """A page of at most 50 of those that wait; with `settled`, of those that somebody has dealt with."""
    only_known(request, DeadLettersAsked)
    scope_of(request)
    query = dead_letters.Query(
        why=asked.why,
        task=asked.task,
        queue=asked.queue,
        settled=asked.settled or Settled.OPEN,
        before=int(asked.cursor) if asked.cursor else None,
        cluster_id=asked.cluster_id(),
    )
    page = dead_letters.find(query, user_of(request))
    following = None if page.older is None else str(page.older)
    return {"letters": page.letters, "next": following, "count": page.count, "more": page.more}


@router.get(
    "/dead-letters/{int:letter_id}",
    response=schemas.DeadLetterDetail,
    tags=["dead letters"],
    summary="A dead letter",
)
def dead_letter(request: HttpRequest, letter_id: int) -> dict[str, Any]:
    """With what it carries, as far as that was kept."""
    scope_of(request)
    found = DeadLetter.objects.visible_to(request.user).filter(pk=min(letter_id, LAST_ID)).first()
    if found is None:
        raise missing("There is no such dead letter, or it is beyond the reach of this token.")
    told = dead_rows.detail(found, user_of(request))
    facts = {name: getattr(found, name) for name in schemas.DeadLetter.model_fields}
    carried = {"carried": told["carried"], "headers": told["headers"] or None}
    return {**facts, **carried, "size": found.size, "withheld": found.withheld}
