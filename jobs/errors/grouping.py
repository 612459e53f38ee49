"""Brings failures that the record tells of into errors and their counts.

It follows the record: what ingest has marked in its own transaction is taken
up here, counted in one transaction with the end of its mark, and so once,
whoever is killed in between. A job is counted where its row says: told twice, it
changes nothing; failed otherwise, or not at all after a second delivery, it moves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from jobs.errors.counting import Counted, Place, Sighting, begun, moved, reopen, see
from jobs.errors.fingerprints import UNKNOWN, cause_of, other_of
from jobs.models import Attempt, Cluster, Error, ErrorCount, ErrorJob, Job, State, Ungrouped
from jobs.models.errors import ErrorStatus
from jobs.store.turns import written

AT_ONCE = 25
# What else a task fails with, and whatever is beyond the second bound, is one error without a name.
ERRORS_OF_A_TASK, MOST_ERRORS = 200, 20_000
COUNTED = (
    "times", "first_at", "last_at", "first_release", "last_release", "last_job", "frame", "status",
    "returned_at", "ignored_until", "ignored_above",
)  # fmt: skip

Key = tuple[str, str]


def group(cluster_id: int, most: int = AT_ONCE) -> int:
    """Take up so many marks, the oldest first, in one transaction; how many there were."""
    if not Ungrouped.objects.filter(cluster=cluster_id).exists():
        return 0
    with written():
        _wait_for_others(cluster_id)
        marks = dict(_marks(cluster_id, most))
        _bring_up(cluster_id, sorted(set(marks.values())))
        Ungrouped.objects.filter(pk__in=list(marks)).delete()
    return len(marks)


def leave_out(cluster_id: int) -> None:
    """Forget the oldest mark: what it tells of can't be grouped."""
    with written():
        _wait_for_others(cluster_id)
        Ungrouped.objects.filter(pk__in=[pk for pk, _ in _marks(cluster_id, 1)]).delete()


def wake(cluster_id: int, now: datetime) -> int:
    """Reopen what was ignored until a moment that has come; how many these were."""
    over = Error.objects.filter(cluster=cluster_id, status=ErrorStatus.IGNORED, ignored_until__lte=now)
    if not over.exists():
        return 0
    with written():
        errors = list(over.select_for_update().order_by("pk"))
        for error in errors:
            reopen(error, now)
        Error.objects.bulk_update(errors, COUNTED)
    return len(errors)


def _wait_for_others(cluster_id: int) -> None:
    """A monitor that was thought to be gone may be at the same marks: one after the other."""
    Cluster.objects.select_for_update(no_key=True).get(pk=cluster_id)


def _marks(cluster_id: int, most: int) -> Iterable[tuple[int, int]]:
    rows = Ungrouped.objects.filter(cluster=cluster_id).order_by("id")
    return rows.values_list("pk", "job_id")[:most]


def _bring_up(cluster_id: int, job_ids: Sequence[int]) -> None:
    found = read_sightings(job_ids)
    before = {row.pk: Counted(row.error_id, row.at) for row in ErrorJob.objects.filter(pk__in=job_ids)}
    sightings, keys = _bounded(cluster_id, found)
    errors = {error.pk: error for error in keys.values()}
    errors |= _locked({counted.error_id for counted in before.values()} - errors.keys())
    before = {job_id: counted for job_id, counted in before.items() if counted.error_id in errors}
    after = {each.job_id: Counted(keys[each.key].pk, each.at) for each in sightings}
    _move(errors, before, after, sightings)
    _place(job_ids, before, after)


def read_sightings(job_ids: Collection[int]) -> list[Sighting]:
    """Those of these jobs that have failed, as the record has them now. Two statements."""
    rows = Job.objects.filter(pk__in=job_ids, state=State.FAILED)
    jobs = list(
        rows.only("task", "queue", "exception", "ended_at", "seen_at", "retries", "delivery", "release")
    )
    attempts = Attempt.objects.filter(job_id__in=[job.pk for job in jobs], state=State.FAILED)
    told = attempts.order_by().values_list("job_id", "retries", "delivery", "traceback")
    tracebacks = {tuple(key): traceback for *key, traceback in told}
    return [_sighting(job, tracebacks.get((job.pk, job.retries, job.delivery))) for job in jobs]


def _sighting(job: Job, traceback: str | None) -> Sighting:
    cause = cause_of(job.task, job.exception, traceback)
    return Sighting(job.pk, cause, job.queue or UNKNOWN, job.ended_at or job.seen_at, job.release)


# The errors that they belong to


def _bounded(cluster_id: int, found: Sequence[Sighting]) -> tuple[list[Sighting], dict[Key, Error]]:
    """The sightings, and the errors that they are of, locked; the new ones are made, up to the bounds."""
    known = _known(cluster_id, found)
    fresh = [each for each in found if each.key not in known]
    if not fresh:
        return list(found), known
    room = _room(cluster_id, {each.cause.task for each in fresh})
    kept = _within(room, fresh, known)
    sightings = [each if each.key in known else kept[each.job_id] for each in found]
    known |= _known(cluster_id, [each for each in kept.values() if each.key not in known])
    return sightings, known | _made(cluster_id, [each for each in kept.values() if each.key not in known])


def _known(cluster_id: int, sightings: Iterable[Sighting]) -> dict[Key, Error]:
    keys = {each.key for each in sightings}
    rows = Error.objects.select_for_update().filter(
        cluster=cluster_id, fingerprint__in={key[0] for key in keys}, queue__in={key[1] for key in keys}
    )
    return {key: row for row in rows.order_by("pk") if (key := (row.fingerprint, row.queue)) in keys}


def _locked(ids: Collection[int]) -> dict[int, Error]:
    rows = Error.objects.select_for_update().filter(pk__in=ids).order_by("pk") if ids else ()
    return {error.pk: error for error in rows}


def _room(cluster_id: int, tasks: Iterable[str]) -> dict[str | None, int]:
    """How many errors there may still be: of each of these tasks, and (None) in all."""
    errors = Error.objects.filter(cluster=cluster_id).order_by()
    room: dict[str | None, int] = {
        task: ERRORS_OF_A_TASK - errors.filter(task=task)[:ERRORS_OF_A_TASK].count() for task in tasks
    }
    room[None] = MOST_ERRORS - errors[:MOST_ERRORS].count()
    return room


def _within(
    room: dict[str | None, int], fresh: Iterable[Sighting], known: Mapping[Key, Error]
) -> dict[int, Sighting]:
    """The sightings by job; where there is no room for another error, of the one without a name."""
    kept: dict[int, Sighting] = {}
    taken: set[Key] = set()
    for each in fresh:
        task = each.cause.task
        if each.key not in taken and not room[None]:
            each = Sighting(each.job_id, other_of(UNKNOWN), UNKNOWN, each.at, each.release)
        elif each.key not in taken and not room[task]:
            each = Sighting(each.job_id, other_of(task), each.queue, each.at, each.release)
        elif each.key not in taken:
            taken.add(each.key)
            room[task], room[None] = room[task] - 1, room[None] - 1
        kept[each.job_id] = each
    return kept


def _made(cluster_id: int, sightings: Iterable[Sighting]) -> dict[Key, Error]:
    first: dict[Key, Error] = {}
    for each in sightings:
        if each.key not in first:
            first[each.key] = begun(cluster_id, each)
    Error.objects.bulk_create(first.values())
    return first


# What changes


def _move(
    errors: Mapping[int, Error],
    before: Mapping[int, Counted],
    after: Mapping[int, Counted],
    sightings: Iterable[Sighting],
) -> None:
    for job_id in before.keys() | after.keys():
        was, is_now = before.get(job_id), after.get(job_id)
        if was:
            errors[was.error_id].times -= 1
        if is_now:
            errors[is_now.error_id].times += 1
    for each in sightings:
        if before.get(each.job_id) != after[each.job_id]:
            see(errors[after[each.job_id].error_id], each)
    Error.objects.bulk_update(errors.values(), COUNTED)
    _count(moved((before.get(job_id), after.get(job_id)) for job_id in before.keys() | after.keys()))


def _count(deltas: Counter[Place]) -> None:
    """Nobody else counts meanwhile, so each count is written whole."""
    if not deltas:
        return
    near = ErrorCount.objects.filter(
        error_id__in={place[0] for place in deltas}, start__in={place[2] for place in deltas}
    )
    known = {(row.error_id, row.tier, row.start): row.failed for row in near}
    rows = [
        ErrorCount(error_id=place[0], tier=place[1], start=place[2], failed=known.get(place, 0) + delta)
        for place, delta in deltas.items()
    ]
    ErrorCount.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["error", "tier", "start"], update_fields=["failed"]
    )


def _place(job_ids: Collection[int], before: Mapping[int, Counted], after: Mapping[int, Counted]) -> None:
    """Write down where each of these jobs is counted now."""
    ErrorJob.objects.filter(pk__in=set(job_ids) - after.keys()).delete()
    rows = [
        ErrorJob(job_id=job_id, error_id=counted.error_id, at=counted.at)
        for job_id, counted in after.items()
        if before.get(job_id) != counted
    ]
    ErrorJob.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["job"], update_fields=["error", "at"]
    )
