"""What can be done to many jobs: which of them it can be done to, and the rows that have it done."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from jobs import dead_letters, outbox
from jobs.models import Action, BulkItem, Job, Outgoing, Payload, Revocation
from jobs.models.bulk import Deed, ItemOutcome
from jobs.perform import Refused
from jobs.values import storable
from workers.eligibility import why_not_retry, why_not_revoke
from workers.messages import retry_message
from workers.second_lives import why_not_again


@dataclass(frozen=True)
class Case:
    """A job of a bulk: its item, and what the record knows of it."""

    item: BulkItem
    job: Job
    payload: Payload | None


class Doing(Protocol):
    """How a deed is done. `permission` is needed beside that for many at once."""

    permission: str
    reads_payload: bool

    def why_not(self, job: Job, payload: Payload | None) -> Refused | None:
        """Why it can't be done to this job; None if it can."""
        ...

    def why_not_again(self, jobs: Sequence[Job]) -> Mapping[int, Refused]:
        """Those of these jobs to which it was done already, by their numbers, and why not twice."""
        ...

    def act(self, cases: Sequence[Case], action: Action) -> None:
        """Write the rows that have it done, and into each item what came of it."""
        ...


class Retrying:
    """A new job of each, with the stored body."""

    permission = "retry_job"
    reads_payload = True

    def why_not(self, job: Job, payload: Payload | None) -> Refused | None:
        return why_not_retry(job, payload)

    def why_not_again(self, jobs: Sequence[Job]) -> Mapping[int, Refused]:
        return why_not_again(jobs)

    def act(self, cases: Sequence[Case], action: Action) -> None:
        outbox.store_rows([row for case in cases if (row := _new_row(case, action)) is not None])
        dead_letters.retried(
            {case.job.pk: case.item.new_task_id for case in cases if case.item.new_task_id}, action
        )


def _new_row(case: Case, action: Action) -> Outgoing | None:
    """The row that retries it; where none can be made, its item says why."""
    new_id = str(uuid.uuid4())
    assert case.payload is not None
    try:
        row = outbox.row_of(retry_message(case.job, case.payload, new_id), action)
    except (ValueError, KeyError, TypeError, RecursionError) as fault:
        why = storable(f"{type(fault).__name__}: {fault}")
        case.item.outcome, case.item.detail = ItemOutcome.FAILED, why[:500]
        return None
    case.item.outcome, case.item.new_task_id = ItemOutcome.DONE, new_id
    return row


class Revoking:
    """Each shall not run any more."""

    permission = "revoke_job"
    reads_payload = False

    def why_not(self, job: Job, payload: Payload | None) -> Refused | None:
        return why_not_revoke(job)

    def why_not_again(self, jobs: Sequence[Job]) -> Mapping[int, Refused]:
        return {}  # a wish that is there already is as good

    def act(self, cases: Sequence[Case], action: Action) -> None:
        now = datetime.now(UTC)
        wishes = [
            Revocation(cluster_id=case.job.cluster_id, task_id=case.job.task_id, asked_at=now, action=action)
            for case in cases
        ]
        Revocation.objects.bulk_create(wishes, ignore_conflicts=True)
        for case in cases:
            case.item.outcome = ItemOutcome.DONE


DEEDS: Mapping[str, Doing] = {Deed.RETRY: Retrying(), Deed.REVOKE: Revoking()}
