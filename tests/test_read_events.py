"""The quick reader of events and the patient one read the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.events import JOB_KINDS, JobEvent, decode, parse

START = 1_790_000_000.0
FIELDS = [
    "hostname", "retries", "delivery", "name", "queue", "priority", "published", "first_published", "eta",
    "expires", "root_id", "parent_id", "group", "retry_of", "schedule", "origin", "release", "args", "kwargs",
    "body", "withheld", "result", "runtime", "exception", "traceback", "requeue", "state", "meta", "custom",
]  # fmt: skip
anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.integers(10, 600).map(lambda n: "x" * n),
    st.lists(st.text(max_size=3), max_size=2),
    st.sampled_from([START, START + 0.123456789, "2026-11-22T01:02:03", "2026-11-22T01:02:03+02:00", 1e300]),
)
events = st.builds(
    lambda kind, at, more: {"type": kind, "uuid": "id", "timestamp": START + at, **more},
    st.sampled_from([*sorted(JOB_KINDS), "job-news", "task-news"]),
    st.floats(-3600, 3600),
    st.dictionaries(st.sampled_from(FIELDS), anything, max_size=8),
)


@given(st.lists(events, max_size=3), st.floats(-3600, 3600))
def test_what_the_quick_reader_reads_the_patient_one_reads_the_same(
    raw: list[dict[str, Any]], offset: float
) -> None:
    text = json.dumps(raw).encode()
    quick = decode(text, offset)
    if quick is not None:
        assert quick == [parse(event, offset) for event in json.loads(text)]


@pytest.mark.parametrize("kind", sorted(JOB_KINDS))
def test_a_common_event_is_read_quickly(kind: str) -> None:
    event = {
        "type": kind, "uuid": "id", "timestamp": START, "hostname": "w@h", "utcoffset": 0, "clock": 4,
        "delivery": 1, "name": "shop.tasks.pay", "eta": "2026-11-22T01:02:03+00:00", "args": "['Käse 🧀']",
    }  # fmt: skip
    [read] = decode(json.dumps([event]).encode(), 0.0) or []
    assert isinstance(read, JobEvent)
    assert read.kind == JOB_KINDS[kind]


@pytest.mark.parametrize(
    "odd",
    [
        {"name": "a\x00b"},
        {"name": "\ud800"},
        {"name": "x" * 256},
        {"retries": True},
        {"retries": -1},
        {"runtime": float("nan")},
        {"eta": "tomorrow"},
        {"uuid": ""},
        {"timestamp": 0},
        {"type": "worker-online"},
    ],
)
def test_an_event_that_is_not_as_it_should_be_gets_another_look(odd: dict[str, Any]) -> None:
    event = {"type": "task-received", "uuid": "id", "timestamp": START, **odd}
    assert decode(json.dumps([event]).encode(), 0.0) is None
