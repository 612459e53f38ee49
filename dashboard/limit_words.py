"""The findings of the Coverage page in words: what it is, what it means, and what to write to mend it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from dashboard import formats
from jobs.limits import Limit

Text = str | Promise


@dataclass(frozen=True)
class Words:
    """`mend` is a setting or a command to copy; `page` the name of a page that tells more."""

    title: Text
    why: Text
    mend: str = ""
    page: str = ""


PREFETCH = "worker_prefetch_multiplier = 1"
APPEND_ONLY = "redis-cli CONFIG SET appendonly yes"
KEEP_ALL = "redis-cli CONFIG SET maxmemory-policy noeviction"
UPGRADE = "pip install --upgrade '%(package)s>=%(mended)s'"

WORDS: dict[str, Words] = {
    "blind-monitor": Words(
        _("The monitor is silent"),
        _("What happens now waits in the stream: it is recorded as soon as a monitor runs."),
        ".venv/bin/python manage.py monitor",
    ),
    "blind-broker": Words(
        _("The broker does not answer"),
        _("What waits in its queues is not known. Its address is the setting REDIS_URL."),
    ),
    "blind-lag": Words(
        _("The record is %(lag)s behind"),
        _("The monitor is catching up. What is shown is of then, and nothing is lost."),
    ),
    "gaps": Words(
        _("%(lost)s events are known to be missing"),
        _("%(gaps)s gaps in 24 hours, the last one until %(until)s. Jobs in them may look unfinished."),
        page="gaps",
    ),
    "gaps-uncounted": Words(
        _("Events are missing, and nobody can tell how many"),
        _("%(gaps)s gaps in 24 hours, the last one until %(until)s. Jobs in them may look unfinished."),
        page="gaps",
    ),
    "quarantined": Words(
        _("%(events)s events could not be read"),
        _("They are set aside with a sample of each kind. What they told is not in the record."),
        page="quarantine",
    ),
    "stream-full": Words(
        _("The stream is nearly full: %(length)s of %(cap)s entries"),
        _("Beyond its cap the oldest events are cut off, read or not. A monitor that keeps up empties it."),
        "STREAM_CAP=2000000",
    ),
    "events-off": Words(
        _("Workers send no events of their jobs"),
        _("Of what they run only the publish is known: not the start, and not the end."),
        "worker_send_task_events = True",
    ),
    "dropped": Words(
        _("%(dropped)s events were dropped by workers"),
        _("The stream was out of reach for longer than their buffers hold. They are counted as lost."),
        "nightdesk.Options(url=…, buffer_bytes=64_000_000)",
    ),
    "recorder-faults": Words(
        _("The recorder itself failed %(faults)s times"),
        _("Each fault may have cost an event. The quarantine tells in which part."),
        page="quarantine",
    ),
    "silent-tasks": Words(
        _("%(tasks)s tasks send no events"),
        _("They are declared with send_events=False: their jobs look queued for ever."),
        "send_events = True",
    ),
    "unstamped": Words(
        _("%(unstamped)s of %(received)s messages came without a publish stamp"),
        _("Their producers have no recorder: when they were published, and so their wait, is not known."),
        "nightdesk.install(app, nightdesk.Options(url='redis://…'))",
    ),
    "setup-unknown": Words(
        _("Workers have not told how they are set up"),
        _("They tell at their start and once a minute; if it stays so, their recorder is an older one."),
    ),
    "cap-unmeasured": Words(
        _("Redis %(version)s can't tell what it cut off the stream"),
        _("Should the stream reach its cap, the loss shows without a number. Redis 7.0 and newer can tell."),
    ),
    "faults-sight": Words(
        _("%(package)s %(version)s hides events: %(faults)s known faults"),
        _("They are listed below."),
        UPGRADE,
    ),
    "outlives": Words(
        _("Jobs of %(tasks)s tasks may run twice at once"),
        _("They are acknowledged late and may run longer than the broker waits (%(timeout)s) until it hands "
          "them out again. Either end them before that, or have it wait longer."),
        "broker_transport_options = {'visibility_timeout': 43200}",
    ),
    "outlives-consumer": Words(
        _("Jobs of %(tasks)s tasks may outlast RabbitMQ's patience"),
        _("They are acknowledged late and may run longer than a queue's consumer timeout (%(timeout)s). Then "
          "it closes the worker's channel, and hands them out again."),
        "queue_arguments={'x-consumer-timeout': 43_200_000}",
    ),
    "transient": Words(
        _("What waits in %(queues)s queues is lost when RabbitMQ stops"),
        _("The queues, or the messages in them, are declared not to be kept on disk."),
        "task_default_delivery_mode = 'persistent'",
    ),
    "overflows": Words(
        _("%(queues)s queues throw jobs away when they are full"),
        _("They are declared with a length, beyond which the oldest message goes without a word."),
        "queue_arguments={'x-overflow': 'reject-publish'}",
    ),
    "unconfirmed": Words(
        _("RabbitMQ does not confirm what workers publish"),
        _("A retry, or the next job of a chain, that is on its way while the server stops is lost unseen."),
        "broker_transport_options = {'confirm_publish': True}",
    ),
    "unprioritised": Words(
        _("In %(queues)s queues priorities change nothing"),
        _("They declare no highest priority, so their jobs go in the order in which they came."),
        "task_queue_max_priority = 9",
    ),
    "hard-unenforced": Words(
        _("Time limits of %(tasks)s tasks are not enforced"),
        _("The pool of these workers can't end a job: one that hangs holds its slot for ever."),
        "worker_pool = 'prefork'",
    ),
    "soft-unenforced": Words(
        _("Soft limits of %(tasks)s tasks are not enforced"),
        _("The pool of these workers can end a job, but not warn it before."),
        "worker_pool = 'prefork'",
    ),
    "requeues-lost": Words(
        _("A job that kills its worker is started again without end"),
        _("It is put back into its queue each time, and each time takes a process with it."),
        "task_reject_on_worker_lost = False",
    ),
    "prefetches-all": Words(
        _("Workers take everything that waits into their memory"),
        _("The prefetch is 0, which means without limit: other workers find nothing left to take."),
        PREFETCH,
    ),
    "prefetches": Words(
        _("Up to %(longest)s jobs a slot wait inside workers"),
        _("There they don't count as waiting, and other workers may be free meanwhile."),
        PREFETCH,
    ),
    "early-acks": Words(
        _("Jobs of %(tasks)s tasks are lost when their worker is killed"),
        _("They are acknowledged before they run, so nobody hands them out again."),
        "task_acks_late = True",
    ),
    "faults-jobs": Words(
        _("%(package)s %(version)s has %(faults)s known faults that harm jobs"),
        _("They are listed below."),
        UPGRADE,
    ),
    "redis-old": Words(
        _("Redis %(version)s is too old"),
        _("Celery's transport needs 6.2: without it messages of dead workers are not handed out again."),
    ),
    "evicted": Words(
        _("Redis has thrown away %(evicted_keys)s keys"),
        _("Its memory was full. A queue, with all that waited in it, may have been among them."),
        KEEP_ALL,
    ),
    "evicts": Words(
        _("Redis throws keys away when its memory is full"),
        _("Its policy is %(eviction)s; a queue, with all that waits in it, may be among them."),
        KEEP_ALL,
    ),
    "memory-full": Words(
        _("Redis has used %(share)s of the memory it may use"),
        _("At its limit it refuses jobs, or throws keys away."),
        "redis-cli CONFIG SET maxmemory %(doubled)s",
    ),
    "keeps-nothing": Words(
        _("Whatever waits is lost when Redis stops"),
        _("It keeps nothing on disk."),
        APPEND_ONLY,
    ),
    "only-snapshots": Words(
        _("A crash of Redis loses all since its last snapshot"),
        _("It writes snapshots (save %(snapshots)s), and no append-only file."),
        APPEND_ONLY,
    ),
    "never-syncs": Words(
        _("A crash of the machine loses what its disk had not got yet"),
        _("Redis leaves it to the system when its append-only file reaches the disk."),
        "redis-cli CONFIG SET appendfsync always",
    ),
    "syncs-late": Words(
        _("A crash of the machine may lose the jobs of one second"),
        _("Redis brings its append-only file to the disk once a second."),
        "redis-cli CONFIG SET appendfsync always",
    ),
    "snapshot-failed": Words(
        _("Redis can't write its snapshot"),
        _("It refuses jobs until it can. Look at its log, and at the space on its disk."),
    ),
    "append-failed": Words(
        _("Redis can't write its append-only file"),
        _("It refuses jobs until it can. Look at its log, and at the space on its disk."),
    ),
}  # fmt: skip


def words_of(limit: Limit) -> Words:
    """The words of a finding, with its numbers filled in."""
    words, numbers = WORDS[limit.code], _written(limit.numbers)
    return Words(
        str(words.title) % numbers,
        str(words.why) % numbers,
        words.mend % numbers if words.mend else "",
        words.page,
    )


def _written(numbers: Mapping[str, Any]) -> dict[str, str]:
    written = {name: _number(name, value) for name, value in numbers.items()}
    used, most = numbers.get("used_memory"), numbers.get("max_memory")
    if used and most:
        written |= {"share": formats.percent(used / most), "doubled": str(2 * most)}
    return written


def _number(name: str, value: Any) -> str:
    if isinstance(value, datetime):
        return formats.stamp(value.timestamp(), time.time())
    if name in ("lag", "timeout"):
        return formats.seconds(value)
    return formats.count(value) if isinstance(value, int | float) else formats.text(value)
