"""From a cause to the message that a receiver has in its hand, with other receivers that hang.

A cause is a message in a queue that was empty; the rule is about depth and
fires at once. So this is what sampling, judging and delivering take.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack
from statistics import median

from benchmarks.databases import LABELS
from benchmarks.places import Place, place
from benchmarks.report import Row
from tests.harness import Process, eventually
from tests.harness.processes import python
from tests.receivers import Received, mute, web

CAUSES, HANGING = 8, 10
# Whether the monitor has looked at rules yet.
LOOKS = "SELECT count(*) FROM nightdesk_jobs_heartbeat WHERE name = 'alerts'"
LONGEST = 120.0
ALLOWED = {"WEBHOOK_ALLOW": "http,private", "WEBHOOK_SECRETS": "default:a secret for benchmarks"}


def measure(vendor: str) -> list[Row]:
    """Rows: seconds from cause to delivered message."""
    with ExitStack() as stack:
        here = stack.enter_context(place(vendor))
        answers = stack.enter_context(web())
        hangs = stack.enter_context(mute(threading.Event()))
        _prepare(here, answers, hangs)
        monitor = _monitor(here)
        stack.callback(monitor.stop)
        eventually(lambda: here.number(LOOKS) > 0, LONGEST)
        # The first ones are told while all those that hang take their places.
        took = [_one(here, answers, f"measured-{number}") for number in range(CAUSES)]
    what = f"cause to message, {HANGING} others hang, {LABELS[vendor]}"
    return [
        Row(f"{what}, p50", median(took), "s"),
        Row(f"{what}, most of {CAUSES}", max(took), "s", goal="<= 20"),
    ]


def _prepare(here: Place, answers: Received, hangs: Received) -> None:
    addresses = [f"http://127.0.0.1:{answers.port}/", *[f"http://127.0.0.1:{hangs.port}/"] * HANGING]
    here.run("-m", "benchmarks.channels", *addresses, **ALLOWED)


def _monitor(here: Place) -> Process:
    env = {**here.env, **ALLOWED}
    return Process(python("manage.py", "monitor"), env, here.folder / "monitor.log")


def _one(here: Place, answers: Received, queue: str) -> float:
    """Seconds from a message in this queue to the one about it."""
    began = time.monotonic()
    with here.redis.client() as client:
        client.sadd("_kombu.binding." + queue, f"{queue}\x06\x16\x06\x16{queue}")
        client.lpush(queue, json.dumps({"body": "", "headers": {}, "properties": {}}))
    eventually(lambda: _told(answers, queue), LONGEST, every=0.01)
    return time.monotonic() - began


def _told(answers: Received, queue: str) -> bool:
    bodies = [json.loads(body) for _, _, body in list(answers.requests)]
    return any(alert["key"] == queue for body in bodies for alert in body["alerts"])
