"""Sketches: mergeable, exact to take back, and near the truth."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobs.rollups import ACCURACY, SHORTEST, Sketch, Sketches

seconds = st.floats(SHORTEST, 100_000)


def sketch_of(values: list[float]) -> Sketch:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    return sketch


@given(st.lists(seconds, min_size=1), st.sampled_from([0.0, 0.5, 0.95, 1.0]))
def test_a_quantile_is_near_the_true_one(values: list[float], q: float) -> None:
    truth = sorted(values)[int(q * (len(values) - 1))]
    estimate = sketch_of(values).quantile(q)
    assert estimate is not None
    assert abs(estimate - truth) <= ACCURACY * truth * 1.001


@given(st.lists(seconds), st.lists(seconds))
def test_merging_equals_adding_all(left: list[float], right: list[float]) -> None:
    merged = sketch_of(left)
    merged.merge(sketch_of(right))
    assert merged == sketch_of(left + right)


@given(st.lists(seconds), seconds)
def test_what_is_taken_back_leaves_no_trace(values: list[float], value: float) -> None:
    sketch = sketch_of([*values, value])
    sketch.add(value, -1)
    assert sketch == sketch_of(values)


@given(st.lists(seconds))
def test_it_survives_storage(values: list[float]) -> None:
    sketches = Sketches({("succeeded", "run"): sketch_of(values)})
    assert Sketches.loads(sketches.dumps()).at("succeeded", "run") == sketch_of(values)


def test_nothing_added_is_not_known() -> None:
    assert (Sketch().quantile(0.5), Sketch().mean) == (None, None)
