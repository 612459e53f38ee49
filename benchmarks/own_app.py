"""Nightdesk's own Celery app, with results in its database, or where BENCH_RESULTS says.

BENCH_IDEMPOTENT=1 spares its task the claim.
"""

from __future__ import annotations

import os
import sys

from workers.app import app

if results := os.environ.get("BENCH_RESULTS"):
    app.conf.update(result_backend=results)


# By name: the publishing program is __main__.
@app.task(name="bench.nothing", idempotent=os.environ.get("BENCH_IDEMPOTENT") == "1")
def nothing(number: int) -> int:
    """A job that costs nothing."""
    return number


if __name__ == "__main__":  # publish so many jobs
    for n in range(int(sys.argv[1])):
        nothing.delay(n)
