"""What can be done to many jobs: which of them it can be done to, and the rows that have it done."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from jobs import outbox
from jobs.models import Action, BulkItem, Job, Payload, Revocation
from jobs.models.bulk import Deed, ItemOutcome
from jobs.perform import Refused
from workers.commands.jobs import retry_message, why_not_retry, why_not_revoke


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

    def act(self, cases: Sequence[Case], action: Action) -> None:
        """Write the rows that have it done, and into each item what came of it."""
        ...


class Retrying:
    """A new job of each, with the stored body."""

    permission = "retry_job"
    reads_payload = True

    def why_not(self, job: Job, payload: Payload | None) -> Refused | None:
        return why_not_retry(job, payload)

    def act(self, cases: Sequence[Case], action: Action) -> None:
        messages = [message for case in cases if (message := _new_message(case)) is not None]
        outbox.put_all(messages, action)


def _new_message(case: Case) -> outbox.Message | None:
    """The message that retries it; where none can be made, its item says why."""
    new_id = str(uuid.uuid4())
    assert case.payload is not None
    try:
        message = retry_message(case.job, case.payload, new_id)
    except (ValueError, KeyError, TypeError) as fault:
        case.item.outcome, case.item.detail = ItemOutcome.FAILED, f"{type(fault).__name__}: {fault}"[:500]
        return None
    case.item.outcome, case.item.new_task_id = ItemOutcome.DONE, new_id
    return message


class Revoking:
    """Each shall not run any more."""

    permission = "revoke_job"
    reads_payload = False

    def why_not(self, job: Job, payload: Payload | None) -> Refused | None:
        return why_not_revoke(job)

    def act(self, cases: Sequence[Case], action: Action) -> None:
        now = datetime.now(UTC)
        wishes = [
            Revocation(cluster_id=case.job.cluster_id, task_id=case.job.task_id, asked_at=now, action=action)
            for case in cases
        ]
        # One that is there already is as good.
        Revocation.objects.bulk_create(wishes, ignore_conflicts=True)
        for case in cases:
            case.item.outcome = ItemOutcome.DONE


DEEDS: Mapping[str, Doing] = {Deed.RETRY: Retrying(), Deed.REVOKE: Revoking()}
