"""Which jobs have a second life already, so that nobody gives them another one by mistake."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from django.db import connection
from django.utils.translation import gettext as _

from jobs.models import Action, Bulk, BulkItem, DeadLetter, Job, State
from jobs.models.bulk import Deed, ItemOutcome
from jobs.models.people import OPEN_OUTCOMES
from jobs.perform import Refused
from workers.followups import LONGEST_WAIT, made_by

IN_VAIN = (State.FAILED, State.REVOKED, State.REJECTED)


def hold(numbers: Iterable[int]) -> None:
    """Have nobody else decide on these jobs in the transaction at hand.

    In the order in which the record writes them, and before their letters, as it does.
    """
    if connection.features.has_select_for_update:
        mine = Job.objects.filter(pk__in=list(numbers)).order_by("pk")
        list(mine.select_for_update().values_list("pk"))


def why_not_now(job: Job) -> Refused | None:
    """Why this job is not retried while an earlier retry is on its way; None if none is."""
    return _under_way() if _unheard([job]) else None


def why_not_again(jobs: Sequence[Job]) -> dict[int, Refused]:
    """Those of some jobs of one cluster whose second life is on its way, open, or has succeeded, and so why.

    By their numbers; five statements at most.
    """
    if not jobs:
        return {}
    states = _second_lives(jobs)
    refused = {job.pk: _why(states[job.task_id]) for job in jobs if job.task_id in states}
    return refused | {number: _under_way() for number in _unheard(jobs)}


def _second_lives(jobs: Sequence[Job]) -> Mapping[str, set[str]]:
    """In which states the second lives are that were not in vain."""
    lives = Job.objects.filter(cluster=jobs[0].cluster_id, retry_of__in=[job.task_id for job in jobs])
    states: dict[str, set[str]] = {}
    for task_id, state in lives.exclude(state__in=IN_VAIN).values_list("retry_of", "state"):
        states.setdefault(str(task_id), set()).add(state)
    return states


def _why(states: set[str]) -> Refused:
    if State.SUCCEEDED in states:
        return Refused("retried", _("It was retried already, and that has succeeded."))
    return _under_way()


def _under_way() -> Refused:
    return Refused("asked", _("It is being retried already."))


def _unheard(jobs: Sequence[Job]) -> set[int]:
    """The numbers of those for which a job was asked for, of which the record has not heard yet."""
    made = [*_made_singly(jobs), *_made_in_bulk(jobs), *_made_of_letters(jobs)]
    heard = _recorded(jobs[0].cluster_id, [task_id for _, task_id in made])
    return {number for number, task_id in made if task_id not in heard}


def _recorded(cluster_id: int | None, task_ids: Sequence[str]) -> set[str]:
    found = Job.objects.filter(cluster=cluster_id, task_id__in=task_ids) if task_ids else Job.objects.none()
    return set(found.values_list("task_id", flat=True))


def _made_singly(jobs: Sequence[Job]) -> Iterable[tuple[int, str]]:
    """Numbers of jobs, each with the id of the job that an open action makes of it."""
    numbers = {job.task_id: job.pk for job in jobs}
    asked = Action.objects.filter(cluster=jobs[0].cluster_id, target_kind="job", target__in=numbers)
    for action in asked.filter(command="job.retry", outcome__in=OPEN_OUTCOMES):
        if new_id := made_by(action):
            yield numbers[action.target], new_id


def _made_in_bulk(jobs: Sequence[Job]) -> Iterable[tuple[int, str]]:
    """The same of bulks. One that was not heard of in so long is lost."""
    lately = datetime.now(UTC) - LONGEST_WAIT
    bulks = Bulk.objects.filter(cluster=jobs[0].cluster_id, deed=Deed.RETRY, started_at__gte=lately)
    items = BulkItem.objects.filter(bulk__in=bulks.values("pk"), came=None)
    done = items.filter(outcome=ItemOutcome.DONE, job_id__in=[job.pk for job in jobs])
    return [(number, str(new_id)) for number, new_id in done.values_list("job_id", "new_task_id")]


def _made_of_letters(jobs: Sequence[Job]) -> Iterable[tuple[int, str]]:
    """The same of dead letters that were sent again."""
    lately = datetime.now(UTC) - LONGEST_WAIT
    sent = DeadLetter.objects.filter(job_id__in=[job.pk for job in jobs], settled_at__gte=lately)
    made = sent.exclude(new_task_id=None).values_list("job_id", "new_task_id")
    return [(int(number or 0), str(new_id)) for number, new_id in made]
