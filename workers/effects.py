"""At most one effect for each job and attempt: whoever runs it has claimed it before.

A claim is a row with a lease, renewed while the job runs. A second message of
the same attempt (redelivered, published twice) finds it: done, it is
acknowledged and told as a duplicate; held, it waits aside until the lease has
ended, since the holder may die. Who lost its lease, because it was frozen or
cut off, can't store an outcome any more.
"""

from __future__ import annotations

import uuid
from typing import Any

from celery import states
from celery.exceptions import Ignore, Reject
from celery.utils.log import get_logger
from django.conf import settings
from django.db import InterfaceError, OperationalError, connections, router
from django.db.models import Model

import nightdesk
from jobs.store import claims
from workers.poison import WorkersLost, is_poison, losses_told
from workers.putting_back import PutBack
from workers.running import Renewed, Run, attempt_of

logger = get_logger(__name__)

# Renewed so often within a lease, so that one renewal may fail.
RENEWALS = 3
# A second message looks again after the lease, less often the longer the first one runs; in seconds.
SHORTEST_LOOK, LONGEST_LOOK = 0.2, 60.0
DATABASE_AWAY = 5.0
AWAY = (OperationalError, InterfaceError)


def table() -> type[Model]:
    """The model of claims. Celery makes its task class before Django has its models."""
    from workers.models import Claim

    return Claim


def alias() -> str:
    """The database that holds claims."""
    return router.db_for_write(table())


def begin(run: Run) -> None:
    """Claim the attempt. Raises Ignore if it needs no run any more, PutBack if somebody may be running it.

    Raises WorkersLost if it has killed too many who ran it.
    """
    token = uuid.uuid4().hex
    losses = _claimed(run, token)
    if losses is not None:
        _refuse_poison(losses + losses_told(run.request))
        run.token = token
        _held.add(run)
        return
    found = claims.look(table(), run.task_id, alias())
    nightdesk.emit("job-duplicate", **run.names())
    if found is not None and found.done and run.request.chord:
        # Whoever ran it may have been killed before its chord heard of it; to say it twice does no harm.
        run.task.backend.on_chord_part_return(run.request, states.SUCCESS, None)
    if found is None or found.done or found.attempt > run.attempt:
        raise Ignore("another message of this job has been run")
    raise PutBack("this job runs already", delay=look_again(found))


def _refuse_poison(losses: int) -> None:
    """Its failure, which Celery stores, settles the claim."""
    if is_poison(losses):
        raise WorkersLost(f"{losses} workers were lost that ran this job: it is not given to another one")


def losses_of(task_id: str) -> int:
    """How many of those who had claimed a job were lost, as far as can be told now."""
    try:
        found = claims.look(table(), task_id, alias())
    except AWAY as fault:
        logger.warning("how often %s has lost its worker can't be asked: %s", task_id, fault)
        return 0
    return 0 if found is None else found.losses


def look_again(found: claims.Claimed) -> float:
    """Seconds until a second message should look again."""
    return max(found.left + SHORTEST_LOOK, min(found.held_for, LONGEST_LOOK), SHORTEST_LOOK)


def _claimed(run: Run, token: str) -> int | None:
    """Asks again, on a new connection, if the database didn't answer; raises PutBack if it still doesn't."""
    using = alias()
    for again in (True, False):
        try:
            return claims.claim(table(), run.task_id, run.attempt, token, settings.CLAIM_LEASE, using)
        except AWAY as fault:
            if connections[using].in_atomic_block:
                raise
            connections[using].close()
            if not again:
                raise PutBack(f"the database can't be asked: {fault}", delay=DATABASE_AWAY) from fault
    raise AssertionError("unreachable")


def end(run: Run, state: str | None, returned: Any) -> None:
    """The attempt is over: settle its claim, unless its outcome did. A retry is another attempt."""
    _held.discard(run)
    if not run.token or run.ended:
        return
    try:
        if state is None or _goes_back(returned):
            claims.release(table(), run.task_id, run.token, alias())
        else:
            claims.finish(table(), run.task_id, run.token, alias())
    except AWAY:  # the lease will end; then the message that is left, if any, runs the job again
        logger.warning("the claim of %s can't be settled", run.task_id, exc_info=True)


def _goes_back(returned: Any) -> bool:
    """Whether the job has rejected its message, to have it again."""
    return isinstance(returned, Reject) and bool(getattr(returned, "requeue", False))


def let_go(request: Any) -> None:
    """The main process has killed the one that ran this job, whose message goes back to its queue."""
    try:
        claims.let_go(table(), request.id, attempt_of(request), alias())
    except AWAY:
        logger.warning("the claim of %s can't be given up: its lease will end", request.id)


def close(request: Any) -> None:
    """The main process has published another attempt in place of this one, whose process was lost."""
    try:
        claims.close(table(), request.id, attempt_of(request), alias())
    except AWAY:
        logger.warning("the claim of %s can't be settled: its lease will end", request.id)


def _renew(runs: list[Run]) -> None:
    """Hold on to what runs, for another lease."""
    try:
        _hold([run for run in runs if not run.ended])
    except AWAY as fault:
        logger.warning("claims of running jobs can't be renewed: %s", fault)
    finally:
        connections.close_all()  # this thread's own


def _hold(runs: list[Run]) -> None:
    if not runs:
        return
    ours = claims.renew(table(), {run.task_id: run.token for run in runs}, settings.CLAIM_LEASE, alias())
    for run in runs:
        if run.task_id not in ours and not run.ended:
            run.lost = not _claimed_again(run) and not run.ended
            if run.lost:
                logger.warning("%s[%s] was taken over by somebody else", run.task.name, run.task_id)


def _claimed_again(run: Run) -> bool:
    """The database may have forgotten its last moment; or the job has just ended, by another thread."""
    lease = settings.CLAIM_LEASE
    if claims.claim(table(), run.task_id, run.attempt, run.token, lease, alias()) is not None:
        return True
    found = claims.look(table(), run.task_id, alias())
    return found is not None and found.token == run.token


_held = Renewed(lambda: settings.CLAIM_LEASE / RENEWALS, _renew)
