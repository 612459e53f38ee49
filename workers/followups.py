"""Settling the actions that publish a job, once the record has heard of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta

import orjson

from jobs.models import Action, Cluster, Job, Visible
from jobs.models.people import OPEN_OUTCOMES, Outcome
from jobs.perform import Settled, settle
from jobs.store.turns import written

MOST = 500
# Their `after` holds the id of the job that they publish; without one they are done once it is all published.
PUBLISHING = ("job.retry", "job.rerun", "task.run", "dead.requeue", "schedule.run")
# So long after it was asked for, a published job of which nobody has heard is given up.
LONGEST_WAIT = timedelta(days=1)

Changed = Callable[[Collection[int]], None]


class Follower:
    """Looks at some open actions at a time, all of them in turn."""

    def __init__(self, changed: Changed) -> None:
        self._changed = changed
        self._place = 0

    def turn(self) -> None:
        """Settle those of the next open actions whose jobs are recorded."""
        still_open = Action.objects.filter(outcome__in=OPEN_OUTCOMES, command__in=PUBLISHING)
        actions = list(still_open.filter(pk__gt=self._place).order_by("pk")[:MOST])
        self._place = actions[-1].pk if len(actions) == MOST else 0
        if actions:
            self._settle(actions)

    def _settle(self, actions: Sequence[Action]) -> None:
        made = {task_id: action for action in actions if (task_id := made_by(action)) is not None}
        # What is published anew is recorded here, whatever cluster its job was of.
        clusters = {Cluster.DEFAULT_ID, *(action.cluster_id for action in actions)}
        recorded = Job.objects.filter(cluster__in=clusters)
        found = recorded.filter(task_id__in=made).values_list("pk", "task_id", "retry_of")
        now = datetime.now(UTC)
        heard = {task_id for _, task_id, _ in found}
        unheard = [action for task_id, action in made.items() if task_id not in heard]
        given_up = [action for action in unheard if _is_late(action, now)]
        done = [made[task_id] for task_id in heard]
        done += [action for action in actions if action.outcome == Outcome.SENT and made_by(action) is None]
        if not done and not given_up:
            return
        with written():
            for action in done:
                settle(action, Settled(Outcome.DONE))
            for action in given_up:
                settle(action, Settled(Outcome.FAILED, detail="Published, and never heard of again."))
        self._changed({pk for pk, _, _ in found} | _numbers(recorded, {retry_of for _, _, retry_of in found}))


def made_by(action: Action) -> str | None:
    """The id of the job that an action has published, or will."""
    told = orjson.loads(action.after or "{}").get("task_id")
    return told if isinstance(told, str) else None


def _is_late(action: Action, now: datetime) -> bool:
    return action.outcome == Outcome.SENT and now - action.at > LONGEST_WAIT


def _numbers(recorded: Visible, task_ids: set[str | None]) -> set[int]:
    """The pages of the jobs whose second lives began."""
    return set(recorded.filter(task_id__in=task_ids - {None}).values_list("pk", flat=True))
