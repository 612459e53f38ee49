"""What the API tells, by noun. Times are RFC 3339 in UTC, durations seconds; null is "not known"."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ninja import Schema


class Told(Schema):
    """A part of an answer: each of its members is always there."""


class Job(Told):
    """One request to run a task, and where it stands."""

    id: int
    task_id: str
    task: str | None
    queue: str | None
    state: str
    verdict: str | None
    attempts: int
    retries: int
    priority: int | None
    published_at: datetime | None
    eta: datetime | None
    expires_at: datetime | None
    received_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    wait: float | None
    run: float | None
    total: float | None
    worker: str | None
    exception: str | None
    root_id: str | None
    parent_id: str | None
    group_id: str | None
    retry_of: str | None
    schedule: str | None
    origin: str | None
    release: str | None


class Attempt(Told):
    """One execution of a job. `traceback` needs the permission view_payload."""

    retries: int
    delivery: int
    state: str
    worker: str | None
    received: datetime | None
    started: datetime | None
    ended: datetime | None
    wait: float | None
    run: float | None
    exception: str | None
    traceback: str | None


class Progress(Told):
    """The latest report of a job on itself; `share` is how much is done, 0 to 1."""

    state: Any
    meta: Any
    share: float | None
    at: datetime | None


class Adrift(Told):
    """That a job will not go on by itself: `what` it is, `next` what comes next, `usual` the 99th percentile
    of its task in seconds. The words are those of docs/adrift.md."""

    what: str
    since: datetime
    next: str
    again_at: datetime | None
    usual: float | None


class JobDetail(Job):
    """A job with what it carries. `args`, `kwargs` and `result` are texts as they were recorded: cleaned of
    secrets, perhaps cut. `withheld` says why they can't be sent again."""

    progress: Progress | None
    args: str | None
    kwargs: str | None
    result: str | None
    withheld: str | None
    adrift: Adrift | None
    timeline: list[Attempt]


class Jobs(Told):
    """A page, newest first. `next` is the cursor of the following one; `count` is exact unless `more`."""

    jobs: list[Job]
    next: str | None
    count: int
    more: bool


class Pause(Told):
    """The wish that a queue stand still, in force until somebody resumes it or `until`."""

    who: str
    reason: str
    since: datetime
    until: datetime | None


class Queue(Told):
    """How a queue stands. `oldest` is the age of its oldest message, `target` the longest wait that is meant
    to be; `incoming` and `outgoing` are jobs a second over the last minutes; `slots` serve it. `verdict` is
    its state with its workers and its pace looked at; `drains` the seconds until nothing waits at that pace,
    null where nothing waits or it never will be empty."""

    name: str
    state: str
    verdict: str
    depth: int | None
    oldest: float | None
    target: float | None
    incoming: float | None
    outgoing: float | None
    drains: float | None
    slots: int | None
    paused: Pause | None


class Queues(Told):
    """All queues, worst first. `word` is that of the overview: quiet, drifting, burning, ready or blind."""

    word: str
    queues: list[Queue]


class Worker(Told):
    """One incarnation of a worker process."""

    id: int
    name: str
    pid: int | None
    state: str
    busy: int | None
    slots: int | None
    queues: list[str] | None
    processed: int | None
    load: float | None
    version: str | None
    release: str | None
    online_at: datetime | None
    seen_at: datetime
    setup: dict[str, Any] | None


class Workers(Told):
    """All workers that should be there, worst first."""

    workers: list[Worker]


class Schedule(Told):
    """What Beat sends, and when; `problem` is why it can't."""

    id: int
    name: str
    task: str
    words: str
    expression: str | None
    zone: str | None
    enabled: bool
    last: datetime | None
    next: datetime | None
    overdue: bool
    problem: str | None


class Schedules(Told):
    """All schedules; `beat` is online, late, dead or never."""

    beat: str
    schedules: list[Schedule]


class Counts(Told):
    """Jobs counted once, at their publish, start and end; `retried` counts attempts."""

    published: int
    started: int
    retried: int
    succeeded: int
    failed: int
    revoked: int
    rejected: int


class Step(Counts):
    """What happened from `at` on, for one step."""

    at: datetime


class Durations(Told):
    """Seconds, over jobs that succeeded or failed, within 2 %."""

    count: int
    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None


class Latency(Told):
    """From the first publish (or eta) to the start, from start to end, and of both together."""

    wait: Durations
    run: Durations
    total: Durations


class Stats(Told):
    """What happened from `since` until before `until`, which are whole steps of so many seconds."""

    since: datetime
    until: datetime
    step: int
    total: Counts
    success: float | None
    latency: Latency
    steps: list[Step]


class Action(Told):
    """Something that a person or a program did, or was refused. `outcome` is asked or sent while facts are
    still to tell; then done or failed. `arguments`, `before` and `after` are cleaned of secrets."""

    id: int
    at: datetime
    who: str
    via: str
    address: str | None
    command: str
    target_kind: str
    target: str
    task: str | None
    queue: str | None
    reason: str
    arguments: Any
    before: Any
    after: Any
    count: int | None
    outcome: str
    refusal: str | None
    detail: str
    settled_at: datetime | None


class Actions(Told):
    """A page of the audit, newest first; `next` is the cursor of the following one."""

    actions: list[Action]
    next: str | None


class Bulk(Told):
    """Many jobs at once. Of `total`, `eligible` can be acted on; `done`, `refused` and `failed` have been."""

    id: int
    deed: str
    state: str
    who: str
    reason: str
    rate: float
    stop_share: float
    made_at: datetime
    frozen_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    total: int
    eligible: int
    done: int
    refused: int
    failed: int
    left: int
    succeeded: int
    failed_again: int
    revoked: int
    capped: bool
    detail: str


class BulkDetail(Bulk):
    """A bulk with its preview: how many jobs by state, task and queue, which can't be acted on and why."""

    filter: dict[str, str] | None
    states: dict[str, int]
    tasks: dict[str, int]
    queues: dict[str, int]
    reasons: dict[str, int]
    samples: list[str]


class Bulks(Told):
    """The latest bulks, newest first."""

    bulks: list[Bulk]
    next: str | None


class BulkItem(Told):
    """One job of a bulk: `outcome` is null until it was dealt with, `came` how the new job has ended."""

    task_id: str
    outcome: str | None
    detail: str
    new_task_id: str | None
    came: str | None


class BulkItems(Told):
    """The jobs of a bulk in the order in which they are dealt with."""

    items: list[BulkItem]
    next: str | None


class DeadLetter(Told):
    """A job that nobody will run again by itself, or a message that no worker could read. `why` is retries,
    unknown, unreadable or poison; `settled` is empty while it waits, else requeued, discarded or revived."""

    id: int
    why: str
    task_id: str | None
    task: str | None
    queue: str | None
    exception: str | None
    times: int
    since: datetime
    last_at: datetime
    settled: str
    settled_at: datetime | None
    new_task_id: str | None


class DeadLetterDetail(DeadLetter):
    """A dead letter with what it carries: a job's body, or as much of a message's bytes as is text.
    `withheld` says why a message can't be sent again."""

    carried: str | None
    headers: str | None
    size: int | None
    withheld: str | None


class DeadLetters(Told):
    """A page, newest first. `next` is the cursor of the following one; `count` is exact unless `more`."""

    letters: list[DeadLetter]
    next: str | None
    count: int
    more: bool


class Health(Told):
    """Whether the whole works; each check with the moment at which it was last known."""

    ok: bool
    at: datetime
    checks: dict[str, dict[str, Any]]


class Version(Told):
    """What answers here; `release` is that of the installation's own tasks."""

    api: str
    release: str | None
    celery: str
    site: str
    environment: str
    read_only: bool


class Me(Told):
    """The token that asks: whose it is, and what it may do now."""

    user: str
    token: str
    prefix: str
    permissions: list[str]
    expires_at: datetime
