"""Following what became of the jobs that a bulk has made, or revoked; and stopping it if that goes wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from django.db.models import F

from jobs.bulks import FAILED_AGAIN, failure_share
from jobs.models import ENDED, Bulk, BulkItem, Job, State
from jobs.models.bulk import BulkState, Deed, ItemOutcome
from jobs.store.turns import written
from workers.bulk.acting import end

MOST = 500
# In which counter of Bulk an end is counted.
COUNTERS = {
    State.SUCCEEDED: "succeeded",
    State.REVOKED: "revoked",
    **dict.fromkeys(FAILED_AGAIN, "failed_again"),
}


def follow(bulk: Bulk, after: int) -> int:
    """Look for the ends of the next jobs after the number `after`; the number to go on from, 0 at the end."""
    waiting = bulk.items.filter(outcome=ItemOutcome.DONE, came=None, job_id__gt=after).order_by("job_id")
    items = list(waiting[:MOST])
    ends = _ends(bulk, items)
    if ends:
        _note(bulk, ends)
    return items[-1].job_id if len(items) == MOST else 0


def stop_if_it_goes_wrong(bulk: Bulk) -> bool:
    """Stop a bulk at work if too many of its latest jobs failed again; whether it was stopped."""
    if bulk.deed != Deed.RETRY or bulk.state != BulkState.RUNNING:
        return False
    share = failure_share(bulk)
    if share is None or share <= bulk.stop_share:
        return False
    with written():
        running = Bulk.objects.select_for_update().filter(pk=bulk.pk, state=BulkState.RUNNING).first()
        if running is None:
            return False
        end(running, BulkState.STOPPED, f"{share:.0%} of the latest jobs failed again.")
    return True


def _ends(bulk: Bulk, items: Sequence[BulkItem]) -> dict[str, list[int]]:
    """The items whose jobs have ended, by how."""
    by_task_id = {item.new_task_id or item.task_id: item.pk for item in items}
    ended = Job.objects.filter(cluster=bulk.cluster_id, task_id__in=by_task_id, state__in=ENDED)
    found: dict[str, list[int]] = defaultdict(list)
    for task_id, state in ended.values_list("task_id", "state"):
        found[state].append(by_task_id[task_id])
    return found


def _note(bulk: Bulk, ends: dict[str, list[int]]) -> None:
    with written():
        for state, numbers in ends.items():
            # Another monitor may have noted some of them.
            noted = BulkItem.objects.filter(pk__in=numbers, came=None).update(came=state)
            counter = COUNTERS[State(state)]
            Bulk.objects.filter(pk=bulk.pk).update(**{counter: F(counter) + noted})
