"""What a scrape of a large installation costs."""

from __future__ import annotations

import gzip
import time
import urllib.request
from contextlib import ExitStack

from benchmarks import viewer
from benchmarks.databases import LABELS
from benchmarks.places import place
from benchmarks.report import Row, percentile

TASKS, QUEUES, WORKERS = 1_000, 20, 200
TIMES = 30
# As Prometheus asks.
HEADERS = {"Accept": "application/openmetrics-text;version=1.0.0", "Accept-Encoding": "gzip"}
# How tasks lie in queues -> what is asked for.
SCENES = {
    "each task in one queue": ("1", "/metrics"),
    "each in one queue, without Flower's": ("1", "/metrics?set=nightdesk&set=celery"),
    "each task in each queue": (str(QUEUES), "/metrics"),
}


def measure(vendor: str) -> list[Row]:
    """Rows: the p95 of a scrape with 1,000 tasks, 20 queues and 200 workers, its samples and bytes."""
    return [row for scene in SCENES for row in _rows(vendor, scene)]


def _rows(vendor: str, scene: str) -> list[Row]:
    spread, path = SCENES[scene]
    with ExitStack() as stack:
        here = stack.enter_context(place(vendor))
        here.run("-m", "benchmarks.series", str(TASKS), str(QUEUES), str(WORKERS), spread)
        address = here.web(stack)
        browser = viewer.signed_in(address)
        took, packed = [], b""
        for _ in range(TIMES + 1):
            began = time.perf_counter()
            packed = browser.open(urllib.request.Request(address + path, headers=HEADERS)).read()
            took.append(time.perf_counter() - began)
    text = gzip.decompress(packed)
    samples = sum(not line.startswith(b"#") for line in text.splitlines())
    name = f"a scrape, {LABELS[vendor]}, {scene}"
    return [
        Row(f"{name}, p95", percentile(took[1:], 95) * 1000, "ms", goal="<= 1000"),
        Row(f"{name}, samples", samples, ""),
        Row(f"{name}, packed", len(packed) / 1e6, "MB"),
    ]
