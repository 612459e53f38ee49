"""Acting on some jobs of a bulk: their outcomes and what has it done are written in one transaction.

So each job is acted on once, whoever is killed, and however many act at the
same time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import User
from django.db.models import F

from jobs import access
from jobs.models import Bulk, BulkItem, Job, Outgoing, Payload
from jobs.models.bulk import BulkState, ItemOutcome
from jobs.models.people import Outcome
from jobs.perform import Refused, Settled, settle
from jobs.store.turns import written
from workers.bulk.deeds import DEEDS, Case
from workers.second_lives import hold

# What was handed over and isn't with the broker yet may be so much, in seconds of the bulk's rate.
AHEAD_SECONDS, FEWEST_AHEAD = 5.0, 100
GONE = Refused("missing", "The record doesn't hold it any more.")
BEYOND = Refused("reach", "It is beyond the reach of who began this.")


def act_on_some(bulk_id: int, most: int) -> int:
    """Act on the next `most` jobs at most; how many there were. Ends the bulk with its last one."""
    with written():
        bulk = Bulk.objects.select_for_update().filter(pk=bulk_id, state=BulkState.RUNNING).first()
        if bulk is None or bulk.action is None or _waits_for_the_broker(bulk):
            return 0
        if why := _may_not_any_more(bulk):
            end(bulk, BulkState.STOPPED, why)
            return 0
        items = list(bulk.items.filter(outcome=None, came=None).order_by("job_id")[:most])
        if items:
            _act(bulk, items)
        if len(items) < most:
            bulk.refresh_from_db()
            end(bulk, BulkState.FINISHED)
        return len(items)


def end(bulk: Bulk, state: BulkState, why: str = "") -> None:
    """It is over: say so, and to the action that began it. Within a transaction."""
    now = datetime.now(UTC)
    open_ones = Bulk.objects.filter(pk=bulk.pk, ended_at=None)
    if open_ones.update(state=state, ended_at=now, detail=why[:500]) and bulk.action is not None:
        outcome = Outcome.DONE if state == BulkState.FINISHED else Outcome.FAILED
        after = {"done": bulk.done, "refused": bulk.refused, "failed": bulk.failed, "left": bulk.left}
        settle(bulk.action, Settled(outcome, after, why, bulk.done))


def _waits_for_the_broker(bulk: Bulk) -> bool:
    """Whether so much waits to be published that more would only be a heap."""
    most = max(FEWEST_AHEAD, round(bulk.rate * AHEAD_SECONDS))
    return Outgoing.objects.filter(action=bulk.action)[: most + 1].count() > most


def _may_not_any_more(bulk: Bulk) -> str:
    """Why who began it may not go on; "" if they may."""
    if bulk.user is None:
        return f"The account of {bulk.who} is gone."
    for permission in ("act_in_bulk", DEEDS[bulk.deed].permission):
        if not access.has(bulk.user, permission):
            return f"{bulk.who} lacks the permission now: {access.PERMISSIONS[permission]}."
    return ""


def _act(bulk: Bulk, items: Sequence[BulkItem]) -> None:
    assert bulk.action is not None
    doing, user = DEEDS[bulk.deed], bulk.user
    found, cases = _cases(items, reads_payload=doing.reads_payload), []
    again = doing.why_not_again([case.job for case in found])
    for case in found:
        refusal = _beyond(user, case.job) or doing.why_not(case.job, case.payload) or again.get(case.job.pk)
        if refusal is None:
            cases.append(case)
        else:
            _refuse(case.item, refusal)
    doing.act(cases, bulk.action)
    for item in items:
        if item.outcome is None:
            _refuse(item, GONE)
    BulkItem.objects.bulk_update(items, ["outcome", "detail", "new_task_id"], batch_size=100)
    _count(bulk, Counter(str(item.outcome) for item in items))


def _cases(items: Sequence[BulkItem], *, reads_payload: bool) -> list[Case]:
    """Those whose jobs are still recorded."""
    numbers = [item.job_id for item in items]
    hold(numbers)
    jobs = Job.objects.in_bulk(numbers)
    payloads = Payload.objects.in_bulk(numbers) if reads_payload else {}
    return [Case(item, jobs[item.job_id], payloads.get(item.job_id)) for item in items if item.job_id in jobs]


def _beyond(user: User | None, job: Job) -> Refused | None:
    reached = user is not None and access.reaches(access.spans_of(user), job.task, job.queue)
    return None if reached else BEYOND


def _refuse(item: BulkItem, refusal: Refused) -> None:
    item.outcome, item.detail = ItemOutcome.REFUSED, str(refusal)[:500]


def _count(bulk: Bulk, outcomes: Counter[str]) -> None:
    added: dict[str, Any] = {name: F(name) + count for name, count in outcomes.items()}
    Bulk.objects.filter(pk=bulk.pk).update(**added)
