"""`python -m tests.publish_steadily`: publishes a job each tenth of a second until SIGTERM, prints its id.

Only what the broker has confirmed is printed. While the broker is away it waits.
"""

from __future__ import annotations

import signal
import threading

import django

django.setup()

from kombu.exceptions import OperationalError  # noqa: E402
from redis import RedisError  # noqa: E402

from workers.demo.tasks import process_valuation  # noqa: E402


def main() -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    number = 0
    while not stop.wait(0.1):
        number += 1
        try:
            sent = process_valuation.apply_async((1 + number % 20,), retry=False)
        except (OperationalError, RedisError, OSError):
            continue
        print(sent.id, flush=True)


if __name__ == "__main__":
    main()
