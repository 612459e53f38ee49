"""Delivers one letter; run as a script, a process that can be ended at any time.

It knows nothing of the product, so that it begins at once and stays small. The letter comes over its
standard input, the outcome goes to its standard output; secrets are in neither arguments nor
environment. It ends itself when its time is over, also if nobody is there any more to do so.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import ModuleType

# For a process that was left alone: more than the one that started it gives, in seconds.
SPARE = 2


def main() -> None:
    """Send what comes, and say what came of it."""
    _leave_celery_out()
    from workers.notify.letter import Outcome, letter_from
    from workers.notify.sending import send

    letter = letter_from(sys.stdin.buffer.read())
    signal.alarm(int(letter.seconds) + SPARE)
    try:
        outcome = send(letter)
    except Exception as fault:  # noqa: BLE001 the top of a process; a text of code of others may hold secrets
        outcome = Outcome("failed", type(fault).__name__)
    sys.stdout.buffer.write(outcome.packed())
    sys.stdout.buffer.flush()


def _leave_celery_out() -> None:
    """`import workers` makes the Celery app, which takes a second; what is used here needs none."""
    package = ModuleType("workers")
    package.__path__ = [str(Path(__file__).resolve().parent.parent)]
    sys.modules["workers"] = package


if __name__ == "__main__":
    main()
