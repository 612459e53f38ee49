"""Events outlive the process that made them: whoever comes next sends what it could not."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.batch import Batch
from nightdesk import Options
from nightdesk.spool import FILES, PIECE, SMALLEST, Spool
from nightdesk.writer import StreamWriter
from tests.harness import RedisServer, eventually

STREAM = "nightdesk:test"


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis that a test may stop."""
    server = RedisServer(Path(tempfile.mkdtemp(prefix="nd-s-")))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def options(own_redis: RedisServer, tmp_path: Path) -> Options:
    return Options(url=own_redis.url, stream=STREAM, spool=str(tmp_path / "spool"))


def in_a_process_killed(work: Callable[[], None]) -> None:
    """Run `work` in a fork, which is killed the moment it has done so."""
    child = os.fork()
    if child == 0:
        work()
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def recorded(server: RedisServer) -> list[dict[str, Any]]:
    """The events that a monitor takes from the stream, each once."""
    with server.client() as client:
        entries: Any = client.xrange(STREAM)
    known: dict[str, int] = {}
    events = []
    for stream_id, fields in entries:
        [(_, entry)] = Batch.of([(stream_id.decode(), fields)]).entries
        for seq, event in enumerate(json.loads(entry.events), entry.first_seq):
            if seq > known.get(entry.producer, 0):
                assert seq == known.get(entry.producer, 0) + 1, "a hole"
                known[entry.producer] = seq
                events.append(event)
    return events


def test_what_a_killed_process_could_not_send_the_next_one_does(
    own_redis: RedisServer, options: Options
) -> None:
    own_redis.stop()

    def work() -> None:
        writer = StreamWriter(options)
        for n in range(250):
            writer.put({"n": n})

    in_a_process_killed(work)
    own_redis.start()
    writer = StreamWriter(options)
    writer.put({"n": "mine"})
    eventually(lambda: len(recorded(own_redis)) == 251)
    assert sorted(str(e["n"]) for e in recorded(own_redis)) == sorted([*map(str, range(250)), "mine"])
    assert writer.drain(5)
    assert list(Path(options.spool).iterdir()) == []


def test_what_had_been_sent_before_the_kill_counts_once(own_redis: RedisServer, options: Options) -> None:
    def work() -> None:
        writer = StreamWriter(options)
        writer.put({"n": 0})
        eventually(lambda: len(recorded(own_redis)) == 1)
        own_redis.kill()
        writer.put({"n": 1})

    in_a_process_killed(work)
    own_redis.start()
    writer = StreamWriter(options)
    writer.put({"n": 2})
    eventually(lambda: {event["n"] for event in recorded(own_redis)} == {0, 1, 2})
    assert len(recorded(own_redis)) == 3


def test_a_process_that_lives_keeps_its_file_and_takes_it_along_in_peace(
    own_redis: RedisServer, options: Options
) -> None:
    living, other = StreamWriter(options), Spool(options.spool, options.url, options.stream)
    living.put({"n": 0})
    assert list(other.orphans()) == []
    assert len(list(Path(options.spool).iterdir())) == 1
    assert living.drain(5)
    assert list(Path(options.spool).iterdir()) == []


def test_a_line_that_was_not_finished_costs_the_others_nothing(options: Options) -> None:
    def work() -> None:
        spool = Spool(options.spool, options.url, options.stream)
        spool.open("p1")
        spool.append(7, '{"n":7}')
        with next(Path(options.spool).iterdir()).open("a") as file:
            file.write('8\t{"n"')

    in_a_process_killed(work)
    other = Spool(options.spool, options.url, options.stream)
    assert list(other.orphans()) == [("p1", 7, ['{"n":7}'])]
    assert list(other.orphans()) == []


def left_behind(options: Options, producer: str, content: bytes) -> Path:
    """The file of a process that is gone."""
    in_a_process_killed(lambda: Spool(options.spool, options.url, options.stream).open(producer))
    [file] = Path(options.spool).glob(f"*{producer}.*events")
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("damaged", [b"", b"5\t\xff\n", b'5\t{"n"\n', b"\n", b'5\t{"n"6\t{}\n'])
def test_what_follows_a_damaged_or_missing_line_keeps_its_numbers(options: Options, damaged: bytes) -> None:
    file = left_behind(options, "p1", b"3\t3\n4\t4\n" + damaged + b"7\t7\n8\t8\n")
    other = Spool(options.spool, options.url, options.stream)
    assert list(other.orphans()) == [("p1", 3, ["3", "4"]), ("p1", 7, ["7", "8"])]
    assert not file.exists()


def test_a_large_file_is_sent_in_pieces(options: Options) -> None:
    left_behind(options, "p1", b"".join(b"%d\t%d\n" % (seq, seq) for seq in range(5, 5 + 3 * PIECE)))
    pieces = list(Spool(options.spool, options.url, options.stream).orphans())
    assert [(first, len(events)) for _, first, events in pieces] == [(5 + n * PIECE, PIECE) for n in range(3)]
    assert [int(event) for _, _, events in pieces for event in events] == list(range(5, 5 + 3 * PIECE))


def nowhere(file: Path) -> None:
    """It can't be opened, not even by root."""
    file.unlink()
    file.symlink_to(file)


def unreadable(file: Path) -> None:
    """It can be opened, and neither read nor deleted."""
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("spoil", [nowhere, unreadable])
def test_a_file_that_cannot_be_read_is_told_once_and_costs_the_others_nothing(
    own_redis: RedisServer, options: Options, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    spoil(left_behind(options, "p1", b"1\t1\n"))
    left_behind(options, "p2", b'1\t{"n":2}\n')
    writer = StreamWriter(options)
    writer.put({"n": 3})
    eventually(lambda: {event["n"] for event in recorded(own_redis)} == {2, 3})
    assert writer._spool is not None
    assert list(writer._spool.orphans()) == []
    assert len(caplog.records) == 1
    assert writer.drain(5)


def test_files_do_not_pile_up_with_what_is_given_up(options: Options) -> None:
    writer = StreamWriter(replace(options, url="redis://127.0.0.1:1/0", buffer_bytes=10_000))
    for n in range(1500):
        writer.put({"n": n, "x": "x" * 1000})
    files = sorted(Path(options.spool).iterdir())
    assert writer.dropped > 1400
    assert sum(file.stat().st_size for file in files) < 2.2 * SMALLEST
    assert files[-1].read_text().splitlines()[-1].startswith('1500\t{"n":1499,')


def test_with_a_full_buffer_an_event_is_written_once_and_none_again(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[int] = []

    def counted(file: int, content: bytes) -> int:
        writes.append(len(content))
        return write(file, content)

    write = os.write
    monkeypatch.setattr(os, "write", counted)
    writer = StreamWriter(replace(options, url="redis://127.0.0.1:1/0", buffer_bytes=1_000_000))
    for n in range(4000):
        writer.put({"n": n, "x": "x" * 1000})
    assert writer.dropped > 2900
    assert len(writes) == 4000
    assert max(writes) < 1100
    assert len(list(Path(options.spool).iterdir())) <= FILES + 2


def test_what_is_in_many_files_is_sent_in_order_and_each_event_once(
    own_redis: RedisServer, options: Options
) -> None:
    own_redis.stop()
    large = {"x": "x" * (SMALLEST // 10)}

    def work() -> None:
        writer = StreamWriter(options)
        for n in range(100):
            writer.put({"n": n, **large})

    in_a_process_killed(work)
    assert len(list(Path(options.spool).iterdir())) > 1
    own_redis.start()
    writer = StreamWriter(options)
    writer.put({"n": 100})
    eventually(lambda: len(recorded(own_redis)) == 101)
    assert writer.drain(5)
    assert list(Path(options.spool).iterdir()) == []


def test_a_file_waits_while_somebody_sends_the_one_before_it(options: Options) -> None:
    def work() -> None:
        own = Spool(options.spool, options.url, options.stream)
        own.open("p1")
        for seq in range(1, 13):
            own.append(seq, json.dumps("x" * (SMALLEST // 10)))

    in_a_process_killed(work)
    one, other = (Spool(options.spool, options.url, options.stream) for _ in range(2))
    sending = one.orphans()
    assert next(sending)[:2] == ("p1", 1)
    assert list(other.orphans()) == []
    assert [first for _, first, _ in sending] == [11]
    assert list(Path(options.spool).iterdir()) == []


def test_a_file_that_cannot_be_deleted_at_the_end_holds_no_stop_up(
    own_redis: RedisServer, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    writer = StreamWriter(options)
    writer.put({"n": 0})
    monkeypatch.setattr(Path, "unlink", refused)
    assert writer.drain(5)


def test_another_streams_files_are_left_alone(options: Options) -> None:
    def work() -> None:
        spool = Spool(options.spool, options.url, "another")
        spool.open("p1")
        spool.append(1, "{}")

    in_a_process_killed(work)
    assert list(Spool(options.spool, options.url, options.stream).orphans()) == []


def test_files_do_not_pile_up_with_what_is_sent(options: Options) -> None:
    own = Spool(options.spool, options.url, options.stream)
    own.open("p1")
    event = json.dumps("x" * 1000)
    for seq in range(1, 2000):
        own.append(seq, event)
        own.forget_before(seq)
    files = sorted(Path(options.spool).iterdir())
    assert sum(file.stat().st_size for file in files) < 2.2 * SMALLEST
    assert files[-1].read_text().splitlines()[-1] == f"1999\t{event}"


def test_a_file_of_which_all_is_sent_is_emptied_and_goes_on(options: Options) -> None:
    own = Spool(options.spool, options.url, options.stream)
    own.open("p1")
    for seq in range(1, 1000):
        own.append(seq, json.dumps("x" * 1000))
        own.forget_before(seq + 1)
    [file] = Path(options.spool).iterdir()
    assert file.stat().st_size < 1.1 * SMALLEST
    own.append(1000, "{}")
    own.abandon()
    other = Spool(options.spool, options.url, options.stream)
    assert next(reversed(list(other.orphans())))[2][-1] == "{}"


def test_a_disk_that_is_full_costs_the_spool_and_nothing_else(
    own_redis: RedisServer, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    writer = StreamWriter(options)
    monkeypatch.setattr(Spool, "append", full)
    writer.put({"n": 0})
    assert writer.drain(5)
    assert [event["n"] for event in recorded(own_redis)] == [0]


def test_a_fork_leaves_its_parents_file_alone(own_redis: RedisServer, options: Options) -> None:
    own_redis.stop()
    writer = StreamWriter(options)
    writer.put({"who": "parent"})
    in_a_process_killed(lambda: writer.put({"who": "child"}))
    assert len(list(Path(options.spool).iterdir())) == 2
    own_redis.start()
    eventually(lambda: {event["who"] for event in recorded(own_redis)} == {"parent", "child"})


def test_the_first_stamp_is_by_the_streams_clock(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightdesk.writer.CLOCK_WAIT", 10.0)
    writer = StreamWriter(Options(url=own_redis.url, stream=STREAM), clock=lambda: time.time() - 3600)
    at = writer.asked_now()
    assert at is not None
    assert abs(at - time.time()) < 60


def test_a_first_stamp_that_nobody_answers_is_unknown() -> None:
    assert StreamWriter(Options(url="redis://127.0.0.1:1/0")).asked_now() is None
