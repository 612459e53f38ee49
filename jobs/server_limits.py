"""What the broker's Redis limits, and puts at risk: pure findings over what it tells of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from jobs.known_faults import Effect, parsed
from jobs.limits import Limit, Tone
from jobs.servers import ServerFacts, ServerSample

KEEPS_ALL = "noeviction"
MEMORY_NEAR_FULL = 0.8
# kombu needs the first, and a stream tells what was cut off it from the second on.
OLDEST, TELLS_WHAT_IS_CUT = "6.2", "7.0"


@dataclass(frozen=True)
class ServerFinding:
    """What to look for: `is_so` gives None where it can't be known; it is so since `fact` is as it is."""

    code: str
    effect: Effect
    tone: Tone
    fact: str
    is_so: Callable[[ServerFacts], bool | None]


def server_limits(sample: ServerSample | None) -> Iterator[Limit]:
    """All findings about this server; none where it was never asked."""
    for finding in FINDINGS if sample else ():
        if sample is not None and finding.is_so(sample.facts):
            since = sample.since.get(finding.fact)
            moment = None if since is None else datetime.fromtimestamp(since, UTC)
            yield Limit(finding.code, finding.effect, finding.tone, moment, asdict(sample.facts))


def _older_than(version: str | None, first: str) -> bool | None:
    told, wanted = parsed(version) if version else None, parsed(first)
    return None if told is None or wanted is None else told < wanted


def memory_share(facts: ServerFacts) -> float | None:
    """How much of the memory it may use is used; None without a limit, or where it doesn't say."""
    if facts.used_memory is None or not facts.max_memory:
        return None
    return facts.used_memory / facts.max_memory


def _evicts(facts: ServerFacts) -> bool | None:
    return None if facts.eviction is None else bool(facts.max_memory) and facts.eviction != KEEPS_ALL


def _near_full(facts: ServerFacts) -> bool | None:
    share = memory_share(facts)
    return None if share is None else share >= MEMORY_NEAR_FULL


def _keeps_nothing(facts: ServerFacts) -> bool | None:
    if facts.append_only is None or facts.snapshots is None:
        return None
    return not facts.append_only and not facts.snapshots


def _only_snapshots(facts: ServerFacts) -> bool | None:
    return facts.append_only is False and bool(facts.snapshots)


def _syncs(how: str) -> Callable[[ServerFacts], bool | None]:
    return lambda facts: bool(facts.append_only) and facts.append_sync == how


FINDINGS = (
    ServerFinding("redis-old", "jobs", "bad", "version", lambda f: _older_than(f.version, OLDEST)),
    ServerFinding("evicted", "jobs", "bad", "eviction", lambda f: bool(f.evicted_keys)),
    ServerFinding(
        "snapshot-failed", "jobs", "bad", "last_snapshot_ok", lambda f: f.last_snapshot_ok is False
    ),
    ServerFinding("append-failed", "jobs", "bad", "last_append_ok", lambda f: f.last_append_ok is False),
    ServerFinding("evicts", "jobs", "warn", "eviction", _evicts),
    ServerFinding("memory-full", "jobs", "warn", "max_memory", _near_full),
    ServerFinding("keeps-nothing", "jobs", "warn", "append_only", _keeps_nothing),
    ServerFinding("only-snapshots", "jobs", "warn", "append_only", _only_snapshots),
    ServerFinding("never-syncs", "jobs", "warn", "append_sync", _syncs("no")),
    ServerFinding("syncs-late", "jobs", "idle", "append_sync", _syncs("everysec")),
    ServerFinding(
        "cap-unmeasured", "sight", "warn", "version", lambda f: _older_than(f.version, TELLS_WHAT_IS_CUT)
    ),
)
