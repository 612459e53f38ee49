"""What can be done to a job, as the record stands: the functions `why_not_…` decide, and do nothing.

Commands, bulk actions and buttons ask the same ones.
"""

from __future__ import annotations

from datetime import datetime

from django.utils.translation import gettext as _

from jobs.liveness import worker_state
from jobs.models import ENDED, Job, Payload, State, Worker
from jobs.perform import Refused
from jobs.values import NAME_LENGTH
from jobs.worker_facts import setup_of

# What a pool can do to a job that runs in it. A thread can't be ended, and a solo worker is deaf meanwhile.
SIGNALS: dict[str, tuple[str, ...]] = {
    "prefork": ("SIGTERM", "SIGUSR1", "SIGKILL"),
    "gevent": ("SIGTERM",),
    "eventlet": ("SIGTERM",),
}


def why_not_retry(job: Job, payload: Payload | None) -> Refused | None:
    """Why this job can't be published again exactly as it was; None if it can."""
    if job.state not in ENDED:
        return Refused("open", _("The job has not ended: it may yet run."))
    if not is_whole(job.task):
        return Refused("unknown", _("Its task is not known."))
    if not is_whole(job.queue):
        return Refused("unknown", _("Its queue is not known."))
    if payload is None or payload.body is None:
        return Refused("withheld", _why_withheld(payload.withheld if payload else None))
    return None


def is_whole(name: str | None) -> bool:
    """Whether a recorded name is the name itself: a long one is cut."""
    return bool(name) and not (len(name or "") == NAME_LENGTH and str(name).endswith("…"))


def _why_withheld(withheld: str | None) -> str:
    return {
        "redacted": _("Secrets in its arguments were hidden before storage, so they can't be sent again."),
        "too large": _("Its arguments were too large to be kept whole."),
    }.get(withheld or "", _("What it carried was not captured."))


def why_not_rerun(job: Job) -> Refused | None:
    """Why this job can't be run again with edited arguments; None if it can."""
    return None if is_whole(job.task) else Refused("unknown", _("Its task is not known."))


def why_not_revoke(job: Job) -> Refused | None:
    """Why this job can't be revoked; None if it can."""
    if job.state in ENDED:
        return Refused("ended", _("It has ended already: %(state)s.") % {"state": job.state})
    return None


def why_not_terminate(job: Job, worker: Worker | None, now: datetime) -> Refused | None:
    """Why no signal can end this job; None if one can. `worker` is the one that runs it."""
    if job.state in ENDED:
        return why_not_revoke(job)
    if job.state != State.RUNNING:
        return Refused("not_running", _("It does not run: revoke it, and it will not begin."))
    if worker is None or worker_state(worker, now) in ("dead", "retired"):
        return Refused("no_worker", _("The worker that ran it is not there any more."))
    if not signals_of(worker):
        pool = pool_of(worker)
        if pool is None:
            return Refused("pool", _("It is not known what kind of pool its worker has."))
        return Refused("pool", _("A worker with a pool of %(pool)s can't end a job.") % {"pool": pool})
    return None


def pool_of(worker: Worker) -> str | None:
    """prefork, threads, …; None where the worker has not told."""
    setup = setup_of(worker.setup)
    return setup.pool if setup else None


def signals_of(worker: Worker) -> tuple[str, ...]:
    """The signals by which this worker can end a job."""
    return SIGNALS.get(pool_of(worker) or "", ())


def worker_of(job: Job) -> Worker | None:
    """The latest incarnation of the worker that took this job last."""
    if job.worker is None:
        return None
    return Worker.objects.filter(cluster=job.cluster_id, name=job.worker).order_by("-seen_at").first()
