"""Stream entries, read: what is new in them, sorted, with what is missing and what can't be read.

Pure: it asks no database. What was recorded before is dropped by producer and
sequence number; holes in the numbers are counted as lost.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from jobs.events import DroppedMessage, JobEvent, Odd, WorkerEvent, decode, parse
from jobs.values import storable
from nightdesk import entry as wire
from nightdesk.entry import Entry, stream_time

StreamEntry = tuple[str, dict[bytes, bytes]]

SAMPLE_LENGTH = 2_000
# What a value that nobody has thought of may cause; it must not stop the record.
REFUSALS = (ValueError, TypeError, ArithmeticError, LookupError, RecursionError)


@dataclass
class Producer:
    """How far a producer's events are recorded."""

    last_seq: int = 0
    lost: int = 0
    seen_at: float = 0.0


@dataclass(frozen=True)
class Hole:
    """Events that a producer numbered and that never came; seconds by the stream's clock."""

    began: float
    ended: float
    lost: int


@dataclass
class Batch:
    """What is to be recorded; made in two steps, since between them the producers are looked up.

    `odd` is, by reason, how many events were refused, and the last of them.
    """

    last_id: str
    entries: list[tuple[str, Entry]] = field(default_factory=list)
    job_events: defaultdict[str, list[JobEvent]] = field(default_factory=lambda: defaultdict(list))
    worker_events: list[tuple[str, WorkerEvent]] = field(default_factory=list)
    dropped: list[DroppedMessage] = field(default_factory=list)
    producers: dict[str, Producer] = field(default_factory=dict)
    holes: list[Hole] = field(default_factory=list)
    odd: dict[str, tuple[int, str]] = field(default_factory=dict)
    events: int = 0
    last_event_at: float | None = None

    @classmethod
    def of(cls, entries: Sequence[StreamEntry]) -> Batch:
        """First step: take the entries apart."""
        batch = cls(last_id=entries[-1][0])
        for stream_id, fields in entries:
            try:
                batch.entries.append((stream_id, wire.decode(stream_id, fields)))
            except (KeyError, ValueError) as fault:
                batch.quarantine(f"not an entry: {type(fault).__name__}", fields)
        return batch

    @property
    def producer_ids(self) -> set[str]:
        return {entry.producer for _, entry in self.entries}

    def read(self, known: Mapping[str, Producer], refused: str = "") -> None:
        """Second step: read what is new to the `known` producers; with `refused`, set all of it aside."""
        for stream_id, entry in self.entries:
            if refused:
                self.quarantine(refused, entry.events, entry.count)
            self._read_entry(entry, stream_time(stream_id), known, keep=not refused)

    def quarantine(self, reason: str, sample: object, events: int = 1) -> None:
        """Set events aside, and count them."""
        count, _ = self.odd.get(reason, (0, ""))
        self.odd[reason] = (count + events, storable(_shown(sample)[:SAMPLE_LENGTH]))

    def _read_entry(self, entry: Entry, now: float, known: Mapping[str, Producer], keep: bool) -> None:
        producer = self.producers.get(entry.producer)
        if producer is None:
            producer = self.producers[entry.producer] = replace(known.get(entry.producer, Producer()))
        fresh_from = producer.last_seq + 1 - entry.first_seq
        if fresh_from < 0:
            producer.lost -= fresh_from
            self.holes.append(Hole(producer.seen_at or now, now, -fresh_from))
        if entry.last_seq > producer.last_seq:
            producer.last_seq = entry.last_seq
            if keep:
                self._read_events(entry, skipped=max(fresh_from, 0))
        producer.seen_at = now

    def _read_events(self, entry: Entry, skipped: int) -> None:
        decoded = decode(entry.events, entry.offset)
        if decoded is None or len(decoded) != entry.count:
            self._read_one_by_one(entry, skipped)
            return
        self.events += len(decoded) - skipped
        job_events, latest = self.job_events, self.last_event_at or 0.0
        for event in decoded[skipped:]:
            if event is not None:
                job_events[event.task_id].append(event)
                if event.at > latest:
                    latest = event.at
        self.last_event_at = latest or None

    def _read_one_by_one(self, entry: Entry, skipped: int) -> None:
        """Something in there is not as it should be: the events around it are."""
        try:
            events = _loaded(entry.events)
        except (ValueError, RecursionError):
            self.quarantine("not JSON", entry.events, entry.count)
            return
        if not isinstance(events, list) or len(events) != entry.count:
            self.quarantine("not the events it counts", entry.events, entry.count)
            return
        for raw in events[skipped:]:
            self._read_event(raw, entry)

    def _read_event(self, raw: object, entry: Entry) -> None:
        try:
            event = parse(raw, entry.offset)
        except Odd as fault:
            self.quarantine(str(fault), raw)
        except RecursionError:
            self.quarantine("nested too deeply", raw)
        else:
            self._take(event, entry.producer)

    def _take(self, event: JobEvent | WorkerEvent | DroppedMessage | None, producer: str) -> None:
        self.events += 1
        if event is None:
            return
        self.last_event_at = max(self.last_event_at or 0.0, event.at)
        if isinstance(event, JobEvent):
            self.job_events[event.task_id].append(event)
        elif isinstance(event, DroppedMessage):
            self.dropped.append(event)
        else:
            self.worker_events.append((producer, event))


def cut(entry: StreamEntry) -> list[StreamEntry]:
    """An entry as entries of one event each; as it is where it can't be cut."""
    stream_id, fields = entry
    try:
        first, events = int(fields[b"s"]), _loaded(fields[b"e"])
        texts = [json.dumps([event]).encode() for event in events]
    except REFUSALS:
        return [entry]
    return [
        (stream_id, {**fields, b"s": b"%d" % seq, b"n": b"1", b"e": text})
        for seq, text in enumerate(texts, first)
    ]


def _loaded(text: bytes) -> Any:
    """JSON as Python writes it: NaN or half a surrogate pair in one event must not cost the others."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


def _shown(sample: object) -> str:
    """A sample as text; of bytes no more than is kept."""
    try:
        return repr(sample[:SAMPLE_LENGTH] if isinstance(sample, bytes) else sample)
    except RecursionError:
        return "(nested too deeply to be shown)"
