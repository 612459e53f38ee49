"""What the pages of workers show: all that should be there, worst first, and one incarnation."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from jobs import scopes, worker_report
from jobs.history import Memory
from jobs.job_frame import epoch
from jobs.lifecycle import STEPS
from jobs.liveness import WorkerState, is_unreachable, queues_of, worker_state
from jobs.models import Standing, State, Worker, WorkerReport
from jobs.queue_rows import by_two_minutes, last_known
from jobs.scopes import Scope
from jobs.seen import look, read_workers
from jobs.trust import Trust, read_trust
from jobs.worker_facts import Setup, setup_of
from jobs.worker_limits import KnownWorker, affected

Frame = dict[str, Any]
# Running jobs are few: as many as there are slots, and those whose worker was lost.
MOST_RUNNING = 1_000
MOST_SHOWN = 50
# What is said of a worker that counts as online in all else. Worst first, as pages list them.
UNREACHABLE = "unreachable"
SHOWN_STATES = ("dead", "late", UNREACHABLE, "online", "retired")
RECEIVED_RANK = STEPS["received"][0]


def worker_row(worker: Worker, state: WorkerState, scope: Scope) -> dict[str, Any]:
    """A worker of docs/frames.md."""
    queues = [name for name in queues_of(worker) if scope.covers_queue(name)]
    return {
        "id": worker.pk,
        "name": worker.name,
        "pid": worker.pid,
        "state": state,
        "busy": worker.busy,
        "slots": worker.slots,
        "queues": queues if worker.queues is not None else None,
        "processed": worker.processed,
        "version": worker.version,
        "release": worker.release,
        "seen": worker.seen_at.timestamp(),
        "since": epoch(worker.online_at if state == "online" else worker.seen_at),
    }


def workers(cluster_id: int, scope: str, now: datetime, memory: Memory | None = None) -> Frame:
    """All workers that should be there, worst first, with what they run."""
    seen = look(cluster_id, now, memory if memory is not None else Memory(), scopes.named(scope))
    running, unreachable = _running(cluster_id, seen.scope), _unreachable(seen.online, seen.trust.as_of)
    rows = [
        {
            **worker_row(worker, state, seen.scope),
            **({"state": UNREACHABLE} if worker.pk in unreachable else {}),
            "up": epoch(worker.online_at),
            "pool": (setup_of(worker.setup) or Setup()).pool,
            "celery": (setup_of(worker.setup) or Setup()).celery,
            "running": _by_task(running[worker.name]),
        }
        for worker, state in seen.workers
    ]
    # Who does not answer works all the same.
    online = [row for row in rows if row["state"] in ("online", UNREACHABLE)]
    return {
        "at": seen.at,
        "blind": _blind(seen.trust, anything=seen.anything),
        "record": seen.trust.record(),
        "workers": sorted(rows, key=lambda row: SHOWN_STATES.index(row["state"])),
        "states": dict(Counter(row["state"] for row in rows)),
        "busy": _sum_known(row["busy"] for row in online),
        "slots": _sum_known(row["slots"] for row in online),
        "releases": _releases(online),
        "trend": by_two_minutes(seen, lambda pair: last_known(seen.busy.get(minute) for minute in pair)),
    }


def worker(cluster_id: int, found: Worker, scope: str, now: datetime) -> Frame:
    """One incarnation of a worker: how it is set up, and what it runs."""
    trust = read_trust(cluster_id, now)
    seen_by = scopes.named(scope)
    state = _state(cluster_id, found, trust)
    setup = setup_of(found.setup)
    jobs = _running(cluster_id, seen_by)[found.name]
    return {
        **worker_row(found, state, seen_by),
        **({"state": UNREACHABLE} if state == "online" and _unreachable([found], trust.as_of) else {}),
        "at": now.timestamp(),
        "blind": _blind(trust, anything=True),
        "record": trust.record(),
        "up": epoch(found.online_at),
        "offline": epoch(found.offline_at),
        "load": found.load,
        "events": found.events,
        "held": [name for name in (found.held or "").split(",") if name and seen_by.covers_queue(name)],
        "setup": asdict(setup) if setup else None,
        "faults": affected([KnownWorker(found, state, setup)]),
        **_reported(found, seen_by),
        "taken": _taken(cluster_id, found.name, seen_by),
        "scheduled": _scheduled(cluster_id, found.name, seen_by),
        "running": jobs[:MOST_SHOWN],
        "more_running": max(0, len(jobs) - MOST_SHOWN),
    }


def _unreachable(online: Sequence[Worker], now: datetime) -> set[int]:
    """Those of them that did not answer when the monitor asked them last. One statement."""
    reports = WorkerReport.objects.filter(worker__in=[worker.pk for worker in online])
    moments = {row.pk: row for row in reports.only("asked_at", "told_at")}
    return {
        worker.pk
        for worker in online
        if (row := moments.get(worker.pk))
        and is_unreachable("online", (setup_of(worker.setup) or Setup()).pool, row.asked_at, row.told_at, now)
    }


def _reported(found: Worker, scope: Scope) -> Frame:
    """What it said when the monitor asked it last, and when; None before it has."""
    row = WorkerReport.objects.filter(worker=found.pk).first()
    told = worker_report.read(row.told) if row else None
    return {
        "report": worker_report.within(told, scope) if told else None,
        "reported": epoch(row.told_at) if row else None,
        "all_of_it": worker_report.shows_settings(scope),
    }


def _taken(cluster_id: int, name: str, scope: Scope) -> list[dict[str, Any]]:
    """What it has taken and not begun, by the record, among the newest of all workers. One statement."""
    return _held(cluster_id, name, scope, State.RECEIVED)[:MOST_SHOWN]


def _scheduled(cluster_id: int, name: str, scope: Scope) -> list[dict[str, Any]]:
    """What it holds until its time has come, the next one first; likewise. Two statements."""
    held = _held(cluster_id, name, scope, State.SCHEDULED) + _held(cluster_id, name, scope, State.RETRYING)
    return sorted(held, key=lambda job: (job["due"] or 0.0, job["id"]))[:MOST_SHOWN]


def _held(cluster_id: int, name: str, scope: Scope, state: State) -> list[dict[str, Any]]:
    """What a worker of this name has received, and whose state is this since."""
    rows = (
        Standing.objects.within(scope)
        .filter(cluster=cluster_id, state=state)
        .order_by("-job_id")
        .values_list(
            "job_id",
            "job__task_id",
            "task",
            "queue",
            "job__worker",
            "job__rank",
            "job__received_at",
            "job__eta",
        )
    )
    return [
        {
            "id": pk,
            "task_id": task_id,
            "task": task,
            "queue": queue,
            "received": epoch(received),
            "due": epoch(eta),
        }
        for pk, task_id, task, queue, worker, rank, received, eta in rows[:MOST_RUNNING]
        if worker == name and rank == RECEIVED_RANK
    ]


def _state(cluster_id: int, found: Worker, trust: Trust) -> WorkerState:
    """As the list has it: one that came back under its name has retired the earlier ones."""
    listed = {worker.pk: state for worker, state in read_workers(cluster_id, trust)}
    if found.pk in listed:
        return listed[found.pk]
    return "retired" if _has_successor(found) else worker_state(found, trust.as_of)


def _has_successor(found: Worker) -> bool:
    later = Worker.objects.filter(cluster=found.cluster_id, name=found.name, seen_at__gt=found.seen_at)
    return later.exists()


def _running(cluster_id: int, scope: Scope) -> Mapping[str, list[dict[str, Any]]]:
    """What runs now, by the name of the worker, the newest job first. One statement."""
    rows = (
        Standing.objects.within(scope)
        .filter(cluster=cluster_id, state=State.RUNNING)
        .order_by("-job_id")
        .values_list(
            "job_id", "job__task_id", "task", "queue", "job__worker", "job__started_at", "job__attempts"
        )
    )
    running: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for pk, task_id, task, queue, name, started, attempts in rows[:MOST_RUNNING]:
        told = {"id": pk, "task_id": task_id, "task": task, "queue": queue}
        running[name].append({**told, "started": epoch(started), "attempts": attempts})
    return running


def _by_task(jobs: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What runs, in one line: the tasks, the most frequent first, and the start of the oldest."""
    if not jobs:
        return None
    tasks = Counter(job["task"] or "?" for job in jobs)
    started = [job["started"] for job in jobs if job["started"] is not None]
    return {
        "count": len(jobs),
        "tasks": [{"task": task, "count": count} for task, count in tasks.most_common(3)],
        "others": max(0, len(tasks) - 3),
        "oldest": min(started, default=None),
        "first": jobs[-1],
    }


def _releases(online: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The releases that run at once, the most frequent first, where there are several."""
    named = Counter(row["release"] for row in online if row["release"])
    if len(named) < 2:
        return []
    return [
        {"release": release, "workers": [row["name"] for row in online if row["release"] == release]}
        for release, _ in named.most_common()
    ]


def _blind(trust: Trust, *, anything: bool) -> str | None:
    word = trust.verdict(anything_seen=anything)
    return word.reason if word.word == "blind" else None


def _sum_known(numbers: Iterable[int | None]) -> int | None:
    """Their sum; None if one of them is not known."""
    known = list(numbers)
    return None if None in known else sum(number for number in known if number is not None)
