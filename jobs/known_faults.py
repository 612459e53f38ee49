"""Faults known of the releases that workers run: which apply to a version, and what they do.

Read from the histories of the projects in November 2026. `since` is the first
release with the fault, None if it is older than what we looked at (Celery
5.3, kombu 5.3); `mended` is the first release without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from django.utils.translation import gettext_noop as _

Effect = Literal["sight", "jobs"]
Version = tuple[int, ...]

CELERY, KOMBU = "https://github.com/celery/celery", "https://github.com/celery/kombu"


@dataclass(frozen=True)
class Fault:
    """`effect`: "sight" if events or states are missing or wrong, "jobs" if jobs themselves suffer."""

    package: str
    number: int
    effect: Effect
    mended: str
    what: str
    since: str | None = None

    @property
    def source(self) -> str:
        """Where the change that mends it (or brought it) is discussed."""
        return f"{CELERY if self.package == 'celery' else KOMBU}/pull/{self.number}"

    def applies_to(self, version: str) -> bool | None:
        """Whether this release has it; None if the version can't be read."""
        asked = parsed(version)
        if asked is None:
            return None
        first = parsed(self.since) if self.since else ()
        mended = parsed(self.mended)
        return first is not None and mended is not None and first <= asked < mended


FAULTS = (
    # What is not told, or told wrongly
    Fault(
        "celery",
        10226,
        "sight",
        "5.7.0",
        _("A job that its hard time limit ends sends no event: it stays running."),
    ),
    Fault("celery", 10369, "sight", "5.7.0", _("A job that rejects itself for good is not told as failed.")),
    Fault("celery", 10401, "sight", "5.7.0", _("Events that wait while the broker is away may be dropped.")),
    Fault(
        "celery",
        10383,
        "sight",
        "5.7.0",
        _("Jobs taken before a reconnect send events into a closed connection."),
    ),
    Fault(
        "celery",
        9678,
        "sight",
        "5.6.0",
        _("A job that a cold stop cuts off is told as failed, and runs again."),
    ),
    # What harms jobs
    Fault(
        "celery", 10277, "jobs", "5.7.0", _("A worker's memory grows without end after its broker was away.")
    ),
    Fault(
        "celery",
        10218,
        "jobs",
        "5.7.0",
        _("After a reconnect, the limits of jobs that run are forgotten."),
        "5.6.3",
    ),
    Fault("celery", 10346, "jobs", "5.7.0", _("After a reconnect, free slots may stand still.")),
    Fault(
        "celery",
        10335,
        "jobs",
        "5.7.0",
        _("After a reconnect, a worker may take from queues that are not its own."),
    ),
    Fault(
        "celery",
        9869,
        "jobs",
        "5.7.0",
        _("Revoking marks a result as revoked though the job runs or has ended."),
        "5.6.2",
    ),
    Fault("celery", 10214, "jobs", "5.7.0", _("An error callback that fails stops those after it.")),
    Fault(
        "celery", 10183, "jobs", "5.7.0", _("A warm stop of a threads pool runs what was prefetched as well.")
    ),
    Fault("celery", 10151, "jobs", "5.6.3", _("A worker may not come back after a failover of Redis.")),
    Fault(
        "celery",
        10095,
        "jobs",
        "5.6.3",
        _("Retries that wait in RabbitMQ's quorum queues may be dropped."),
        "5.5.0",
    ),
    Fault("celery", 9799, "jobs", "5.6.0", _("Each exception leaks memory.")),
    Fault(
        "kombu",
        2590,
        "jobs",
        "5.7.0",
        _("A Redis connection that died silently goes unnoticed: nothing is taken."),
    ),
    Fault(
        "kombu", 2561, "jobs", "5.7.0", _("A worker may crash with a KeyError when a Redis connection ends.")
    ),
    Fault("kombu", 2007, "jobs", "5.4.0", _("After a reconnect to Redis, a worker may take nothing.")),
    Fault(
        "kombu", 1733, "jobs", "5.3.2", _("A job that Redis hands out while the connection closes is lost.")
    ),
)


def parsed(version: str) -> Version | None:
    """A version to compare by; a release candidate comes before its release. None if it can't be read."""
    match = re.match(r"v?(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?(?:\.?(a|b|rc|dev)(\d{0,6}))?", version.strip())
    if match is None:
        return None
    numbers = tuple(int(part or 0) for part in match.group(1, 2, 3))
    before = {"dev": 0, "a": 1, "b": 2, "rc": 3}.get(match[4] or "", 4)
    return (*numbers, before, int(match[5] or 0))


@lru_cache(maxsize=256)
def known_faults(package: str, version: str) -> tuple[Fault, ...] | None:
    """The faults that this release has, those that limit sight first; None if the version can't be read."""
    if parsed(version) is None:
        return None
    found = [fault for fault in FAULTS if fault.package == package and fault.applies_to(version)]
    return tuple(sorted(found, key=lambda fault: fault.effect != "sight"))


def mended_in(faults: Iterable[Fault]) -> str:
    """The first release without any of them."""
    return max((fault.mended for fault in faults), key=lambda version: parsed(version) or ())
