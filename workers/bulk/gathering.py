"""Gathering the set of a bulk, a window of candidates at a time, until it is frozen.

What comes later can't enter: no job with a number above the bulk's bound, and
none at all once it is frozen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from django.contrib.auth.models import User
from django.db.models.functions import Substr
from django.utils.translation import gettext as _

from jobs import search
from jobs.bulks import Preview
from jobs.loading import chunks
from jobs.models import Bulk, BulkItem, Job, Payload, State
from jobs.models.bulk import BulkState, Deed, ItemOutcome
from jobs.perform import Refused
from jobs.store.turns import written
from jobs.values import in_utc
from workers.bulk.deeds import DEEDS, Doing

MOST = 100_000
WINDOW = 1_000
# A filter that no index serves may have to look at many jobs to find a few: at so many windows.
MOST_WINDOWS = 2_000
NOT_RECORDED = "The record doesn't hold it, or it is beyond your reach."


@dataclass(frozen=True)
class Found:
    """A part of a set, and where the next one begins (None: this was the last); `missing` were not found."""

    ids: list[int]
    edge: int | None
    missing: int = 0


def gather(bulk: Bulk, user: User) -> Bulk:
    """Look at one window more of a draft that isn't frozen; the bulk as it is then."""
    before = bulk.bound + 1 if bulk.looked_to is None else bulk.looked_to
    look = search.Candidates.of(query_of(bulk), user).window(before, WINDOW)
    room = MOST - bulk.total
    return _add(bulk, Found(look.ids[:room], look.edge if len(look.ids) <= room else 0))


def query_of(bulk: Bulk) -> search.Query:
    """What its filter asks for."""
    told = orjson.loads(bulk.filter or "{}")
    ends = {name: in_utc(datetime.fromisoformat(told[name])) for name in ("since", "until") if name in told}
    return search.Query(**{**told, **ends}, cluster_id=bulk.cluster.pk)


def gather_chosen(bulk: Bulk, user: User, task_ids: Sequence[str]) -> Bulk:
    """Those jobs that were chosen one by one, all at once."""
    ids = [
        pk
        for chunk in chunks(set(task_ids))
        for pk in Job.objects.visible_to(user)
        .filter(cluster=bulk.cluster_id, task_id__in=chunk, pk__lte=bulk.bound)
        .values_list("pk", flat=True)
    ]
    return _add(bulk, Found(ids, None, missing=len(set(task_ids)) - len(ids)))


def _add(bulk: Bulk, found: Found) -> Bulk:
    preview, doing = Preview.read(bulk.preview), DEEDS[bulk.deed]
    items = list(_items(bulk, found.ids, preview, doing))
    if found.missing:
        preview.reasons[NOT_RECORDED] += found.missing
    refused = sum(item.outcome is not None for item in items)
    changes: dict[str, Any] = {
        "total": bulk.total + len(items),
        "refused": bulk.refused + refused,
        "eligible": bulk.eligible + len(items) - refused,
        "preview": preview.dumps(),
        "looked_to": found.edge,
        "windows": bulk.windows + 1,
        **_end(bulk, found, len(items)),
    }
    with written():
        # Somebody else may have looked at the same window.
        same = Bulk.objects.filter(pk=bulk.pk, state=BulkState.DRAFT, frozen_at=None, windows=bulk.windows)
        if same.update(**changes):
            BulkItem.objects.bulk_create(items, batch_size=500)
    bulk.refresh_from_db()
    return bulk


def _end(bulk: Bulk, found: Found, added: int) -> dict[str, Any]:
    """What is to be said if this was the last window."""
    full = bulk.total + added >= MOST or bulk.windows + 1 >= MOST_WINDOWS
    if found.edge is not None and not full:
        return {}
    return {"frozen_at": datetime.now(UTC), "capped": found.edge is not None}


def _items(bulk: Bulk, ids: Sequence[int], preview: Preview, doing: Doing) -> Iterator[BulkItem]:
    for chunk in chunks(ids):
        payloads = _payloads(chunk) if doing.reads_payload else {}
        jobs = list(Job.objects.filter(pk__in=chunk))
        again = {**_retried_since(bulk, jobs), **doing.why_not_again(jobs)}
        for job in jobs:
            refusal = doing.why_not(job, payloads.get(job.pk)) or again.get(job.pk)
            preview.count(job.pk, job.state, job.task, job.queue, str(refusal or ""))
            item = BulkItem(bulk=bulk, job_id=job.pk, task_id=job.task_id)
            if refusal is not None:
                item.outcome, item.detail = ItemOutcome.REFUSED, str(refusal)[:500]
            yield item


def _retried_since(bulk: Bulk, jobs: Sequence[Job]) -> dict[int, Refused]:
    """Of a set made by a filter: jobs whose retry failed as well. That one is retried, if the filter has it;
    both would be the same work twice."""
    if bulk.deed != Deed.RETRY or not orjson.loads(bulk.filter or "{}"):
        return {}
    lives = Job.objects.filter(
        cluster=bulk.cluster_id, retry_of__in=[job.task_id for job in jobs], state=State.FAILED
    )
    again = set(lives.values_list("retry_of", flat=True))
    why = Refused("retried", _("It was retried already, and the retry failed: retry that one."))
    return {job.pk: why for job in jobs if job.task_id in again}


def _payloads(ids: Sequence[int]) -> Mapping[int, Payload]:
    """As far as it matters whether there is a body: of that, the first letter alone."""
    rows = Payload.objects.filter(job_id__in=ids).annotate(begin=Substr("body", 1, 1))
    told = rows.values_list("job_id", "begin", "withheld", "retries")
    return {
        job_id: Payload(job_id=job_id, body=begin, withheld=withheld, retries=retries)
        for job_id, begin, withheld, retries in told
    }
