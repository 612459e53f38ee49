"""What is to be forgotten, found without ever walking through all that is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Exists, Max, OuterRef, QuerySet

from jobs.metrics.counting import ANYBODY, OTHER, UNKNOWN, WORKER
from jobs.models import (
    Alert,
    AlertChange,
    Answer,
    Attempt,
    Bucket,
    Bulk,
    BulkItem,
    Cluster,
    DeadLetter,
    Enqueued,
    Error,
    ErrorCount,
    ErrorJob,
    Firing,
    Gap,
    Job,
    LogPart,
    Notice,
    Outgoing,
    Payload,
    Producer,
    Quarantine,
    QueueSample,
    SeenError,
    Series,
    Standing,
    Tag,
    Tick,
    Worker,
    WorkerReport,
    WorkerSample,
)
from jobs.models.bulk import BulkState
from jobs.retention import COLUMNS, Known, Retention
from jobs.store.turns import deleted

READ_AT_ONCE = 1_000
AGAIN_AFTER = timedelta(days=1)
# A preview that nobody has begun.
DRAFTS_FOR = timedelta(days=1)
# An answer of the API that may be asked for again.
ANSWERS_FOR = timedelta(days=2)
# A process that published nothing for so long may still live: forgotten, its next number looks like a loss.
PRODUCERS_FOR = timedelta(days=400)
# Counters of a task that does not run any more, and of a worker that is gone.
SERIES_FOR, WORKERS_SERIES_FOR = timedelta(days=30), timedelta(days=2)


class Sweep:
    """Walks through the jobs in the order in which they came, and stays where the young ones begin.

    What it passed and left (failures are kept longer, open jobs may still end)
    it looks at again once a day. Memory is enough for the place where it stays: after a
    restart it walks once over what was left.
    """

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self._after = 0
        self._began: datetime | None = None

    def over(self, now: datetime) -> Iterator[list[int]]:
        """Numbers of jobs whose time is over, some at a time; what was given is to be forgotten at once."""
        if self._began is None or now - self._began >= AGAIN_AFTER:
            self._began, self._after = now, 0
        while jobs := self._next():
            yield [job.id for job in jobs if self._retention.is_over(job, now)]
            old = [job.id for job in jobs if job.born <= now - self._retention.shortest]
            if not old or old[-1] < jobs[-1].id:
                self._after = old[-1] if old else self._after
                return
            self._after = old[-1]

    def _next(self) -> Sequence[Known]:
        rows = Job.objects.filter(id__gt=self._after).order_by("id").values_list(*COLUMNS)
        return [Known(*row) for row in rows[:READ_AT_ONCE]]


def forget_jobs(ids: Sequence[int], retention: Retention, now: datetime) -> list[int]:
    """Delete these jobs and all that belongs to them, in one transaction, but for those that have revived.

    Those that it has deleted.
    """
    with deleted():
        over = _locked_while_over(ids, retention, now)
        for model in (Standing, Payload, LogPart, ErrorJob, Attempt):
            _delete(model._base_manager.filter(job_id__in=over))
        _delete(Job._base_manager.filter(id__in=over))
    return over


def _locked_while_over(ids: Sequence[int], retention: Retention, now: datetime) -> list[int]:
    """Those that have not revived since they were chosen, and can't before they are deleted.

    The writer of the record begins with the job as well, in the order of ids too.
    The latest job stays: ids are given on from the highest that there is.
    """
    latest = Job.objects.aggregate(latest=Max("id"))["latest"]
    rows = Job.objects.filter(id__in=ids).order_by("id").select_for_update().values_list(*COLUMNS)
    return [
        job.id for job in (Known(*row) for row in rows) if job.id != latest and retention.is_over(job, now)
    ]


def bring_into_memory(ids: Sequence[int]) -> None:
    """Read what will be touched, so that nobody waits for the disk while SQLite's one writer deletes."""
    if connection.vendor == "sqlite":
        named = list(Job.objects.filter(id__in=ids).values_list("cluster", "task_id"))
        for cluster in {cluster for cluster, _ in named}:
            of_cluster = [task_id for each, task_id in named if each == cluster]
            list(Job.objects.filter(cluster=cluster, task_id__in=of_cluster).values_list("id"))
        list(Attempt.objects.filter(job_id__in=ids).order_by().values_list("state"))
        list(Payload.objects.filter(job_id__in=ids).values_list("withheld"))
        list(LogPart.objects.filter(job_id__in=ids).values_list("first"))


def forget_rows(rows: QuerySet[Any], most: int) -> int:
    """Delete at most so many of these rows, to which nothing belongs; how many they were."""
    ids = list(rows.values_list("pk", flat=True)[:most])
    if ids:
        with deleted():
            _delete(rows.model._base_manager.filter(pk__in=ids))
    return len(ids)


def _delete(rows: QuerySet[Any]) -> None:
    """Without a look at what may refer to them: nothing does."""
    rows._raw_delete(connection.alias)


def rows_over(retention: Retention, now: datetime) -> Iterator[QuerySet[Any]]:
    """Whatever else has had its time, table by table, each found by an index."""
    tiers = {Bucket.MINUTE: retention.minutes, Bucket.HOUR: retention.hours, Bucket.DAY: retention.days}
    for cluster in Cluster.objects.all():
        for tier, kept in tiers.items():
            start = int((now - kept).timestamp() // tier)
            yield Bucket.objects.filter(cluster=cluster, tier=tier, start__lt=start)
        yield WorkerSample.objects.filter(cluster=cluster, at__lt=now - retention.samples)
    yield QueueSample.objects.filter(at__lt=now - retention.samples)
    yield Worker.objects.filter(seen_at__lt=now - retention.processes)
    yield WorkerReport.objects.filter(asked_at__lt=now - retention.processes)
    yield Notice.objects.filter(at__lt=now - retention.processes)
    yield Gap.objects.filter(ended_at__lt=now - retention.processes)
    yield Quarantine.objects.filter(last_at__lt=now - retention.processes)
    yield Producer.objects.filter(seen_at__lt=now - PRODUCERS_FOR)
    yield DeadLetter.objects.filter(last_at__lt=now - retention.ended)
    yield from _alerts_over(now - retention.hours)
    yield from _errors_over(retention, now)
    yield Firing.objects.filter(at__lt=now - retention.samples)
    for outcome in Tick.Outcome:
        yield Tick.objects.filter(outcome=outcome, known_at__lt=now - retention.processes)
    yield Answer.objects.filter(at__lt=now - ANSWERS_FOR)
    waits = Exists(Outgoing.objects.filter(task_id=OuterRef("task_id")))
    said = Enqueued.objects.filter(~waits, at__lt=now - retention.open)
    yield said.exclude(key__isnull=False, key_until__gte=now)
    yield Tag.objects.filter(~waits, at__lt=now - retention.open)
    yield BulkItem.objects.filter(bulk__ended_at__lt=now - retention.processes)
    drafts = Bulk.objects.filter(state=BulkState.DRAFT, made_at__lt=now - DRAFTS_FOR)
    yield BulkItem.objects.filter(bulk__in=drafts)
    yield drafts
    yield from series_over(now)


def _alerts_over(before: datetime) -> Iterator[QuerySet[Any]]:
    """Alerts that were resolved before then, after what belongs to them; and errors not seen since."""
    yield AlertChange.objects.filter(alert__resolved_at__lt=before)
    yield Notice.objects.filter(alert__resolved_at__lt=before)
    yield Alert.objects.filter(resolved_at__lt=before)
    yield SeenError.objects.filter(last_at__lt=before)


def _errors_over(retention: Retention, now: datetime) -> Iterator[QuerySet[Any]]:
    """Counts by the age of their tier, and errors that were not seen for as long as the longest is kept."""
    tiers = {ErrorCount.FIVE_MINUTES: retention.samples, ErrorCount.HOUR: retention.hours}
    for tier, kept in tiers.items():
        start = int((now - kept).timestamp() // tier)
        yield ErrorCount.objects.filter(tier=tier, start__lt=start)
    yield Error.objects.filter(last_at__lt=now - retention.hours)


def series_over(now: datetime) -> Iterator[QuerySet[Any]]:
    """What Prometheus has had time enough to see: begun again, it begins at 0, like after a restart."""
    yield Series.objects.filter(moved_at__lt=now - SERIES_FOR).exclude(axis=WORKER)
    lately = Worker.objects.filter(seen_at__gte=now - WORKERS_SERIES_FOR)
    of_workers = Series.objects.filter(axis=WORKER, moved_at__lt=now - WORKERS_SERIES_FOR)
    yield of_workers.exclude(place__in=[ANYBODY, OTHER, UNKNOWN]).exclude(place__in=lately.values("name"))
