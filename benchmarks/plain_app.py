"""A plain Celery program, as anybody may have one: with the recorder or without, by its environment.

BENCH_BROKER and BENCH_RESULTS are its Redis databases, BENCH_STREAM is the
recorder's (none: no recorder), BENCH_CELERY_EVENTS keeps Celery's own events
beside the stream, BENCH_SPOOL is the folder of the recorder's spool.
"""

from __future__ import annotations

import os
import sys

from celery import Celery

import nightdesk

app = Celery("bench", broker=os.environ["BENCH_BROKER"], backend=os.environ["BENCH_RESULTS"])
app.conf.broker_connection_retry_on_startup = True

if stream := os.environ.get("BENCH_STREAM"):
    options = nightdesk.Options(
        url=stream,
        spool=os.environ.get("BENCH_SPOOL", ""),
        celery_events=bool(os.environ.get("BENCH_CELERY_EVENTS")),
    )
    nightdesk.install(app, options)


@app.task(name="bench.nothing")  # by name: the publishing program is __main__
def nothing(number: int) -> int:
    """A job that costs nothing."""
    return number


if __name__ == "__main__":  # publish so many jobs
    for n in range(int(sys.argv[1])):
        nothing.delay(n)
