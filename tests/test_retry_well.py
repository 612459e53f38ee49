"""Faults that pass are tried again, ever later; others fail at once."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import promises
from tests.harness import Installation, RedisServer, eventually
from tests.working import events, lines, worker
from workers.retries import Permanent, Transient, wait_before


def test_what_passes_is_retried_and_what_does_not_fails_at_once(
    installation: Installation, tmp_path: Path
) -> None:
    worker(installation, slots=2, tasks="tests.promises")
    ends = {}
    for fault in ("connection", "transient", "permanent", "other"):
        asked: Any = promises.ask_partner
        ends[fault] = asked.delay(str(tmp_path / fault), fault)
    assert ends["connection"].get(timeout=20) == ends["transient"].get(timeout=20) == "told"
    with pytest.raises(Permanent):
        ends["permanent"].get(timeout=20)
    with pytest.raises(KeyError):
        ends["other"].get(timeout=20)
    ran = {fault: lines(tmp_path / fault) for fault in ends}
    assert ran == {
        "connection": ["0", "1", "2"],
        "transient": ["0", "1", "2"],
        "permanent": ["0"],
        "other": ["0"],
    }


def test_a_failure_that_somebody_wants_to_know_of_is_told_once_it_is_final(
    installation: Installation, redis_server: RedisServer
) -> None:
    running = worker(installation, tasks="tests.promises")
    job = promises.must_not_fail.delay()
    with pytest.raises(KeyError):
        job.get(timeout=20)
    running.says(f"job {job.id} of tests.promises.must_not_fail failed for good")
    told = eventually(lambda: [e for e in events(redis_server) if e["type"] == "job-alert"])
    assert [(e["uuid"], e["name"]) for e in told] == [(job.id, "tests.promises.must_not_fail")]
    assert "currency" in told[0]["exception"]


@given(
    st.integers(0, 10_000), st.floats(0.001, 100), st.floats(0.001, 10_000), st.floats(0, 1), st.booleans()
)
def test_a_wait_doubles_up_to_its_cap_and_jitter_only_shortens_it(
    retry: int, first: float, cap: float, share: float, jitter: bool
) -> None:
    longest = wait_before(retry, first, cap, False)
    assert longest == min(cap, first * 2 ** min(retry, 60))
    assert wait_before(retry, first, cap, True, lambda low, high: low + share * (high - low)) <= longest
    assert 0 <= wait_before(retry, first, cap, jitter) <= longest


def test_a_transient_fault_keeps_its_wait_on_its_way_between_processes() -> None:
    fault = pickle.loads(pickle.dumps(Transient("busy", after=2.5)))
    assert (fault.args, fault.after) == (("busy",), 2.5)
