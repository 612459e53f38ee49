"""Can the record be believed, and what would make it more: read at one moment, for the Coverage page.

It reads small tables only, and nothing of jobs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from django.conf import settings
from django.db.models import Min, QuerySet

from jobs.history import read_first_hour
from jobs.limits import TONES, Limit
from jobs.liveness import Verdict
from jobs.models import Bucket, Gap, Producer, Quarantine, Worker
from jobs.retention import Retention
from jobs.seen import read_workers
from jobs.server_limits import server_limits
from jobs.servers import ServerSample, sample_of
from jobs.trust import GAPS_OF, Trust, detail_of, read_trust
from jobs.worker_facts import RabbitFacts, setup_of
from jobs.worker_limits import KnownWorker, worker_limits

STREAM_NEAR_FULL, STREAM_FULL = 0.8, 0.98
PRODUCERS_OF = timedelta(hours=1)
PRODUCERS_COUNTED = 1_000
LOSERS_SHOWN = 20
LATEST_GAPS = 5
QUARANTINE_SHOWN = 200

Grade = Literal["known", "partly", "later", "unknown"]


@dataclass(frozen=True)
class Producers:
    """Processes that wrote events in the last hour (`more`: than were counted), and those of the last day
    of whose events some are missing, with the worker each of them is, if it is one."""

    count: int
    more: bool
    losers: Sequence[tuple[Producer, Worker | None]]


@dataclass(frozen=True)
class Claim:
    """Something that the record can tell, how well, and the codes of the limits that are the reason."""

    code: str
    grade: Grade
    because: tuple[str, ...]


@dataclass(frozen=True)
class Coverage:
    """All that the page shows. `pace` is events recorded a second, over the last minute."""

    trust: Trust
    verdict: Verdict
    since: datetime | None
    workers: Sequence[KnownWorker]
    server: ServerSample | None
    stream: Mapping[str, Any] | None
    pace: float | None
    gaps: Sequence[Gap]
    quarantined: Sequence[Quarantine]
    producers: Producers

    @property
    def present(self) -> list[KnownWorker]:
        """Workers that are there."""
        return [known for known in self.workers if known.state != "dead"]

    @property
    def rabbits(self) -> list[RabbitFacts]:
        """What they know of RabbitMQ, those that read from one."""
        return [known.setup.rabbitmq for known in self.present if known.setup and known.setup.rabbitmq]


def read_coverage(cluster_id: int, now: datetime) -> Coverage:
    """At most twelve statements."""
    trust = read_trust(cluster_id, now)
    monitor = detail_of(trust.heartbeats.get("monitor"))
    gaps = list(latest_gaps(cluster_id)[:LATEST_GAPS])
    workers = [KnownWorker(w, state, setup_of(w.setup)) for w, state in read_workers(cluster_id, trust)]
    return Coverage(
        trust=trust,
        verdict=trust.verdict(anything_seen=bool(workers) or trust.reading.last_event is not None),
        since=_whole_since(_read_beginning(cluster_id), gaps, now - _kept_for()),
        workers=workers,
        server=sample_of(detail_of(trust.heartbeats.get("broker")).get("server")),
        stream=_stream(monitor),
        pace=_number(monitor.get("pace")),
        gaps=gaps,
        quarantined=read_quarantine(cluster_id),
        producers=_read_producers(cluster_id, now),
    )


def latest_gaps(cluster_id: int, before: int = 2**63 - 1) -> QuerySet[Gap]:
    """Gaps, the latest first, from the one with the id `before` on, which is left out."""
    return Gap.objects.filter(cluster=cluster_id, id__lt=before).order_by("-id")


def read_quarantine(cluster_id: int) -> list[Quarantine]:
    """What was set aside, by reason, the latest first."""
    found = Quarantine.objects.filter(cluster=cluster_id)[:QUARANTINE_SHOWN]
    return sorted(found, key=lambda row: row.last_at, reverse=True)


def _read_beginning(cluster_id: int) -> datetime | None:
    """The first recorded minute, or the end of the first hour where its minutes are forgotten."""
    hour = read_first_hour(cluster_id)
    if hour is None:
        return None
    first, end = hour * Bucket.HOUR // Bucket.MINUTE, (hour + 1) * Bucket.HOUR // Bucket.MINUTE
    minutes = Bucket.objects.filter(
        cluster=cluster_id, tier=Bucket.MINUTE, start__gte=first, start__lt=end
    ).aggregate(first=Min("start"))
    began = end if minutes["first"] is None else minutes["first"]
    return datetime.fromtimestamp(began * Bucket.MINUTE, UTC)


def _kept_for() -> timedelta:
    """For how long neither a job nor a gap is forgotten."""
    kept: Retention = settings.RETENTION
    return min(kept.succeeded, kept.ended, kept.processes)


def _whole_since(began: datetime | None, gaps: Sequence[Gap], kept_from: datetime) -> datetime | None:
    """Since when nothing is known to be missing: after the beginning, the last gap, and what is forgotten."""
    return None if began is None else max([began, kept_from, *(gap.ended_at for gap in gaps)])


def _read_producers(cluster_id: int, now: datetime) -> Producers:
    all_of_them = Producer.objects.filter(cluster=cluster_id)
    lately = all_of_them.filter(seen_at__gte=now - PRODUCERS_OF).values("pk")[: PRODUCERS_COUNTED + 1]
    count = lately.count()
    losing = all_of_them.filter(seen_at__gte=now - GAPS_OF, lost__gt=0).order_by("-seen_at")
    losers = list(losing[:LOSERS_SHOWN])
    workers = {w.producer: w for w in Worker.objects.filter(producer__in=[loser.id for loser in losers])}
    return Producers(
        min(count, PRODUCERS_COUNTED),
        count > PRODUCERS_COUNTED,
        [(loser, workers.get(loser.id)) for loser in losers],
    )


def _stream(monitor: Mapping[str, Any]) -> Mapping[str, Any] | None:
    told = monitor.get("stream")
    return told if isinstance(told, dict) and told.get("cap") else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


# Pure from here on


def limits(coverage: Coverage) -> list[Limit]:
    """All findings, the worst first."""
    found = [
        *_of_the_monitor(coverage),
        *_of_the_stream(coverage),
        *worker_limits(coverage.present),
        *server_limits(coverage.server),
    ]
    return sorted(found, key=lambda limit: (TONES.index(limit.tone), limit.effect != "sight"))


def _of_the_monitor(coverage: Coverage) -> Iterator[Limit]:
    verdict = coverage.verdict
    if verdict.word == "blind":
        lag = coverage.trust.reading.lag
        yield Limit(f"blind-{verdict.reason}", "sight", "bad", verdict.since, {"lag": lag})


def _of_the_stream(coverage: Coverage) -> Iterator[Limit]:
    gaps, now = coverage.trust.gaps, coverage.trust.now
    if gaps.count and coverage.gaps:
        latest = max(coverage.gaps, key=lambda gap: gap.ended_at)
        numbers = {"gaps": gaps.count, "lost": gaps.lost, "until": latest.ended_at}
        code = "gaps" if gaps.lost else "gaps-uncounted"
        yield Limit(code, "sight", "warn", latest.began_at, numbers)
    lately = [row for row in coverage.quarantined if row.last_at >= now - GAPS_OF]
    if lately:
        first = min(row.first_at for row in lately)
        yield Limit("quarantined", "sight", "warn", first, {"events": sum(row.count for row in lately)})
    share = stream_share(coverage.stream)
    if coverage.stream is not None and share is not None and share >= STREAM_NEAR_FULL:
        tone: Literal["bad", "warn"] = "bad" if share >= STREAM_FULL else "warn"
        yield Limit("stream-full", "sight", tone, None, coverage.stream)


def stream_share(stream: Mapping[str, Any] | None) -> float | None:
    """How full the stream is."""
    return None if stream is None else float(stream["length"] / stream["cap"])


NOT_SEEN = frozenset({"blind-monitor", "blind-lag"})
MISSING = frozenset({"gaps", "gaps-uncounted", "dropped"})
UNREADABLE = frozenset({"quarantined", "recorder-faults"})
# What the record can tell -> the limits that make it incomplete, and those that make it unknown.
CLAIMS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "ends": (MISSING | UNREADABLE | {"events-off", "silent-tasks", "faults-sight", "stream-full"}, NOT_SEEN),
    "waits": (MISSING | UNREADABLE | {"unstamped"}, NOT_SEEN),
    "arguments": (MISSING | UNREADABLE | {"unstamped"}, frozenset()),
    "loss": (frozenset({"cap-unmeasured", "gaps-uncounted", "setup-unknown"}), frozenset({"blind-monitor"})),
    "queues": (frozenset({"unstamped"}), frozenset({"blind-monitor", "blind-broker"})),
    "workers": (frozenset({"setup-unknown"}), NOT_SEEN),
}


def claims(coverage: Coverage, found: Sequence[Limit]) -> list[Claim]:
    """What the record can tell now, and what it can't."""
    codes = {limit.code for limit in found}
    if coverage.verdict.word == "ready":
        return [Claim(code, "unknown", ()) for code in (*CLAIMS, "killed")]
    return [
        *(_claim(code, codes, partly, unknown) for code, (partly, unknown) in CLAIMS.items()),
        # Nobody tells the end of what a killed worker had in hand, until its message is handed out again.
        Claim("killed", "later", ()),
    ]


def _claim(code: str, codes: set[str], partly: frozenset[str], unknown: frozenset[str]) -> Claim:
    if codes & unknown:
        return Claim(code, "unknown", tuple(sorted(codes & unknown)))
    return Claim(code, "partly" if codes & partly else "known", tuple(sorted(codes & partly)))
