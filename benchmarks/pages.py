"""What a page costs with few jobs and with many: it should be the same, and a tenth of a second at most."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from benchmarks import viewer
from benchmarks.commits import cpu_seconds
from benchmarks.databases import LABELS
from benchmarks.places import place
from benchmarks.report import Row, percentile

FEW = 1_000
TIMES = 40
# Of everything beside the record, in the small place and in the large one.
SURROUNDINGS = 100
GOAL = "<= 100"
TASK, QUEUE, WORKER = "shop.orders.sync", "high", "high@ams-1"
A_JOB = "a job"
BEGAN = datetime.now(UTC)


def _ago(**age: float) -> str:
    return f"{BEGAN - timedelta(**age):%Y-%m-%dT%H:%M}"


EARLIER = "?" + urlencode({"at": _ago(hours=3)})
AN_HOUR = "?" + urlencode({"since": _ago(days=2, hours=1), "until": _ago(days=2)})
FIVE_DAYS = "?" + urlencode({"since": _ago(days=6), "until": _ago(days=1)})
# Each page by what it is called here; a new page joins by a line.
PAGES = {
    "overview": "/",
    "wall": "/wall/",
    "jobs": "/jobs/",
    "jobs, failed": "/jobs/?state=failed",
    "jobs, succeeded, of a task": "/jobs/?" + urlencode({"state": "succeeded", "task": TASK}),
    "jobs, of a task in a queue": "/jobs/?" + urlencode({"task": TASK, "queue": QUEUE}),
    "jobs, far back": "/jobs/?before=900",
    "jobs of an hour": f"/jobs/{AN_HOUR}",
    "errors": "/errors/",
    "an error": "/errors/1/",
    "tasks": "/tasks/",
    "tasks, of a week": "/tasks/?window=7d",
    "a task": f"/tasks/{TASK}/",
    "a task, of a week": f"/tasks/{TASK}/?window=7d",
    "workflows": "/workflows/",
    "overview, earlier": f"/{EARLIER}",
    "overview, of an hour": f"/{AN_HOUR}",
    "overview, of five days": f"/{FIVE_DAYS}",
    "queues, earlier": f"/queues/{EARLIER}",
    "a queue, earlier": f"/queues/{QUEUE}/{EARLIER}",
    "workers, earlier": f"/workers/{EARLIER}",
    "queues": "/queues/",
    "a queue": f"/queues/{QUEUE}/",
    "workers": "/workers/",
    "a worker": f"/workers/{WORKER}/",
    "schedules": "/schedules/",
    "a schedule": "/schedules/1/",
    "alerts": "/alerts/",
    "an alert": "/alerts/1/",
    "rules": "/alerts/rules/",
    "channels": "/alerts/channels/",
    "dead letters": "/dead/",
    "a dead letter": "/dead/1/",
    "bulk": "/bulk/",
    "a bulk": "/bulk/1/",
    "triggers": "/triggers/",
    "a trigger": "/triggers/1/",
    "run a task": "/run/",
    "coverage": "/coverage/",
    "gaps": "/gaps/",
    "quarantine": "/quarantine/",
    "audit": "/audit/",
    "an action": "/audit/1/",
    "jobs in the admin": "/admin/nightdesk_jobs/job/?p=3",
}


def measure(vendor: str, many: int) -> list[Row]:
    """Rows: the p95 of each page with FEW jobs stored and with `many`, taken in turns, and their ratio."""
    with ExitStack() as stack:
        sites = [Site(stack, vendor, jobs) for jobs in (FEW, many)]
        for turn in range(TIMES + 1):
            for name in (*PAGES, A_JOB):
                for site in sites:
                    site.open(name, counts=turn > 0)
    few, large = sites
    return [row for name in few.times for row in _rows(LABELS[vendor], name, few, large)]


def _rows(database: str, name: str, few: Site, large: Site) -> list[Row]:
    slow, base = large.p95(name), few.p95(name)
    return [
        Row(f"{name}, {database}, {few.jobs:,} jobs, p95", base * 1000, "ms"),
        Row(f"{name}, {database}, {large.jobs:,} jobs, p95", slow * 1000, "ms", goal=GOAL),
        Row(
            f"{name}, {database}, {large.jobs:,} jobs, processor",
            large.processor(name) * 1000,
            "ms",
        ),
        Row(f"{name}, {database}, {large.jobs:,} against {few.jobs:,}", slow / base, "x"),
    ]


class Site:
    """A web process over so many jobs, and how long its pages took, in seconds."""

    def __init__(self, stack: ExitStack, vendor: str, jobs: int) -> None:
        self.jobs = jobs
        self.times: dict[str, list[float]] = {name: [] for name in (*PAGES, A_JOB)}
        self._cpu = dict.fromkeys(self.times, 0.0)
        here = stack.enter_context(place(vendor))
        here.run("manage.py", "fabricate", "--jobs", str(jobs))
        here.run("-m", "benchmarks.surroundings", str(SURROUNDINGS))
        self._web, self._address = here.web_process(stack)
        self._browser = viewer.signed_in(self._address)
        self._paths = {**PAGES, A_JOB: f"/jobs/~{jobs // 2}/"}

    def open(self, name: str, *, counts: bool) -> None:
        """Get a page whole; from then on where it led to."""
        began, cpu = time.perf_counter(), cpu_seconds(self._web.pid)
        answer = self._browser.open(self._address + self._paths[name])
        answer.read()
        if counts:
            self.times[name].append(time.perf_counter() - began)
            self._cpu[name] += cpu_seconds(self._web.pid) - cpu
        self._paths[name] = answer.geturl().removeprefix(self._address)

    def p95(self, name: str) -> float:
        return percentile(self.times[name], 95)

    def processor(self, name: str) -> float:
        """What the web process itself took for a page, the mean: it says the same on a busy machine."""
        return self._cpu[name] / len(self.times[name])
