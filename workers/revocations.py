"""Making revocations true: workers are told, and what came of it is read in the record.

Workers with the recorder keep the list in Redis before they take a message
(`nightdesk.revoked`), and hear of each new one by remote control. Both is told
again every now and then, which changes nothing where it is known: so whatever
was lost, in a pub/sub or with a Redis, comes back. Workers without the recorder
hear of it by Celery's own command alone, and again with what is retold.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import redis
from django.db.models import Q

from jobs.liveness import worker_state
from jobs.models import ENDED, Action, Job, Revocation, State, Worker
from jobs.models.people import OPEN_OUTCOMES, Outcome
from jobs.perform import Settled, settle
from jobs.store.turns import written
from nightdesk import revoked
from workers.commands.jobs import REVOKING
from workers.control import Control

MOST = 1_000
# How often all that is still open is told again, in seconds.
RETELL_SECONDS = 60.0
# A worker may have been too busy to hear, or to answer that it is there: what is new is soon told again.
TELL_TWICE_SECONDS = 5.0
# A message may be delivered twice: what was revoked stays on the list for a while, in seconds.
KEPT_SECONDS = 86_400.0
# How often is asked who has no recorder, in seconds; the answers take one.
ASKED_SECONDS = 5.0
# A worker with the recorder was heard within.
HEARD_WITHIN = timedelta(minutes=2)
# How soon a worker that did not answer is told again to end a job, in seconds.
AGAIN_SECONDS = 2.0
# Asks a task to come to its end; how it does is its own affair.
SOFT = "SIGUSR1"

Changed = Callable[[Collection[int]], None]


@dataclass(frozen=True)
class Met:
    """A revocation, and its job as the record has it; None if retention has removed that."""

    wish: Revocation
    job: Job | None

    @property
    def is_over(self) -> bool:
        return self.job is None or self.job.state in ENDED

    @property
    def runs(self) -> bool:
        return self.job is not None and self.job.state == State.RUNNING


class Revoker:
    """Tells and settles. For one thread; `changed` takes the ids of jobs whose pages have something new."""

    def __init__(self, url: str, control: Control, changed: Changed) -> None:
        self._list = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)
        self._control = control
        self._changed = changed
        self._place = 0
        self._retelling = False
        self._retell_at = 0.0
        self._not_before: dict[int, float] = {}
        self._unrecorded: list[str] = []
        self._ask_at = 0.0

    def turn(self) -> None:
        """Tell what is new, and look at some of what is open.

        Raises BrokerUnreachable or redis.RedisError; what was not told then is told later.
        """
        self._settle_some()
        self._tell_new()

    # Telling

    def _tell_new(self) -> None:
        untold = Revocation.objects.filter(told_at=None).select_related("action").order_by("pk")
        wishes = [wish for wish in untold[:MOST] if self._may_be_told(wish)]
        if not wishes:
            return
        self._keep_out([wish.task_id for wish in wishes])
        met = _met(wishes)
        heard = [one for one in met if not one.wish.terminate] + self._terminate(met)
        _note_told(heard)
        self._changed({one.job.pk for one in heard if one.job is not None})
        self._retell_at = min(self._retell_at, time.monotonic() + TELL_TWICE_SECONDS)
        self._tell_unrecorded(met)

    def _may_be_told(self, wish: Revocation) -> bool:
        return self._not_before.get(wish.pk, 0.0) <= time.monotonic()

    def _keep_out(self, task_ids: Sequence[str]) -> None:
        """The list first, then those who listen: a worker that starts in between finds it on the list."""
        self._list.zadd(revoked.KEY, dict.fromkeys(task_ids, float("inf")))
        self._control.cast(revoked.COMMAND, {"ids": list(task_ids)}, None)

    def _tell_unrecorded(self, met: Sequence[Met]) -> None:
        """Celery's command writes a result, too: so it is not for jobs that run, nor for all workers."""
        waiting = [one.wish.task_id for one in met if not (one.is_over or one.runs)]
        if waiting and (names := self._who_is_unrecorded()):
            self._control.cast("revoke", {"task_id": waiting}, names)

    def _who_is_unrecorded(self) -> list[str]:
        if time.monotonic() >= self._ask_at:
            self._unrecorded = _unrecorded(self._control.tell("ping", {}, None))
            self._ask_at = time.monotonic() + ASKED_SECONDS
        return self._unrecorded

    def _terminate(self, met: Sequence[Met]) -> list[Met]:
        """Send signals by way of the workers that run these jobs; those that need no second telling."""
        heard, running = [], defaultdict(list)
        for one in met:
            if not one.wish.terminate:
                continue
            worker = _runs_on(one)
            if worker is None:
                heard.append(one)
            else:
                running[worker, one.wish.signal].append(one)
        for (worker, signal), some in running.items():
            if self._signal(worker, signal, some):
                heard += some
        return heard

    def _signal(self, worker: str, signal: str, some: Sequence[Met]) -> bool:
        """Whether the worker has answered. A signal that was answered is never sent again."""
        ids = [one.wish.task_id for one in some]
        told = self._control.tell("revoke", {"task_id": ids, "terminate": True, "signal": signal}, [worker])
        for one in some:
            self._not_before.pop(one.wish.pk, None)
            if worker not in told:
                self._not_before[one.wish.pk] = time.monotonic() + AGAIN_SECONDS
        return worker in told

    # Settling

    def _settle_some(self) -> None:
        """The next of those that were told: settle what is over, and tell the rest again when it is time."""
        if self._place == 0:
            self._retelling = time.monotonic() >= self._retell_at
        told = Revocation.objects.filter(pk__gt=self._place).exclude(told_at=None).order_by("pk")
        wishes = list(told[:MOST])
        met = _met(wishes)
        self._settle([one for one in met if one.is_over])
        if self._retelling and (still_open := [one for one in met if not one.is_over]):
            self._keep_out([one.wish.task_id for one in still_open])
            self._tell_unrecorded(still_open)
        self._place = wishes[-1].pk if len(wishes) == MOST else 0
        if self._retelling and self._place == 0:
            self._retell_at = time.monotonic() + RETELL_SECONDS

    def _settle(self, over: Sequence[Met]) -> None:
        if not over:
            return
        self._take_off_the_list(over)
        with written():
            _settle_actions(over)
            Revocation.objects.filter(_unchanged([one.wish for one in over])).delete()
        self._changed({one.job.pk for one in over if one.job is not None})

    def _take_off_the_list(self, over: Sequence[Met]) -> None:
        """What was revoked stays for a while; what ended otherwise needs no guard."""
        kept = {one.wish.task_id for one in over if one.job is not None and one.job.state == State.REVOKED}
        gone = {one.wish.task_id for one in over} - kept
        now = time.time()
        with self._list.pipeline(transaction=False) as pipe:
            if kept:
                pipe.zadd(revoked.KEY, dict.fromkeys(kept, now + KEPT_SECONDS))
            if gone:
                pipe.zrem(revoked.KEY, *gone)
            pipe.zremrangebyscore(revoked.KEY, "-inf", now)
            pipe.execute()

    def close(self) -> None:
        """Let go of the connections."""
        self._control.close()
        self._list.close()


def _met(wishes: Sequence[Revocation]) -> list[Met]:
    """Each with its job; one statement."""
    wished = {
        "cluster__in": {wish.cluster_id for wish in wishes},
        "task_id__in": [wish.task_id for wish in wishes],
    }
    rows = Job.objects.filter(**wished).only("cluster_id", "task_id", "state", "worker") if wishes else ()
    jobs = {(job.cluster_id, job.task_id): job for job in rows}
    return [Met(wish, jobs.get((wish.cluster_id, wish.task_id))) for wish in wishes]


def _unrecorded(names: Collection[str]) -> list[str]:
    """Those of the workers that are there that the record doesn't hear."""
    lately = datetime.now(UTC) - HEARD_WITHIN
    heard = Worker.objects.filter(name__in=names, offline_at=None, seen_at__gte=lately).exclude(setup=None)
    return sorted({*names} - {*heard.values_list("name", flat=True)})


def _runs_on(one: Met) -> str | None:
    """The worker that runs the job, if it does run and there is such a worker."""
    if one.job is None or one.job.state != State.RUNNING or one.job.worker is None:
        return None
    worker = Worker.objects.filter(name=one.job.worker).order_by("-seen_at").first()
    if worker is None or worker_state(worker, datetime.now(UTC)) in ("dead", "retired"):
        return None
    return str(worker.name)


def _unchanged(wishes: Sequence[Revocation]) -> Q:
    """These rows, unless somebody has wished for more meanwhile."""
    plain = [wish.pk for wish in wishes if not wish.terminate]
    return Q(pk__in=plain, terminate=False) | Q(
        pk__in=[wish.pk for wish in wishes if wish.terminate], terminate=True
    )


def _note_told(heard: Sequence[Met]) -> None:
    wishes = [one.wish for one in heard]
    with written():
        Revocation.objects.filter(_unchanged(wishes)).update(told_at=datetime.now(UTC))
        actions = {wish.action_id for wish in wishes if wish.action_id is not None}
        asked = Action.objects.filter(pk__in=actions, command__in=REVOKING, outcome=Outcome.ASKED)
        asked.update(outcome=Outcome.SENT)


def _settle_actions(over: Sequence[Met]) -> None:
    """What people asked of these jobs has come true, or can't any more."""
    by_id = {one.wish.task_id: one for one in over}
    waiting = Action.objects.filter(
        target_kind="job", target__in=by_id, command__in=REVOKING, outcome__in=OPEN_OUTCOMES
    )
    for action in waiting:
        settle(action, came_to(by_id[action.target]))


def came_to(one: Met) -> Settled:
    """What has become of the wish that a job shall not run."""
    if one.job is None:
        return Settled(Outcome.FAILED, detail="The record doesn't hold the job any more.")
    after: dict[str, Any] = {"state": one.job.state}
    if one.job.state == State.REVOKED:
        return Settled(Outcome.DONE, after)
    if one.wish.signal == SOFT and one.wish.told_at is not None:
        return Settled(Outcome.DONE, after, f"The task ended by itself: {one.job.state}.")
    return Settled(Outcome.FAILED, after, f"It ended first: {one.job.state}.")
