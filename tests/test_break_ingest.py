"""How much the monitor reads at once."""

from __future__ import annotations

import pytest

from workers.monitor.ingest import BATCH_BYTES, BATCH_ENTRIES, FIRST_ENTRIES, next_count


@pytest.mark.parametrize(
    ("asked", "sizes", "expected"),
    [
        (50, [100] * 50, 100),
        (400, [100] * 400, BATCH_ENTRIES),
        (500, [100] * 3, FIRST_ENTRIES),
        (8, [100] * 3, 8),
        (8, [], 8),
        (50, [500_000] * 50, 50 * BATCH_BYTES // 25_000_000),
        (1, [BATCH_BYTES * 9], 1),
        (8, [400_000] * 8, 16),
    ],
)
def test_a_read_is_bounded_in_bytes(asked: int, sizes: list[int], expected: int) -> None:
    assert next_count(asked, sizes) == expected


def test_it_settles_at_what_fits() -> None:
    count = FIRST_ENTRIES
    for _ in range(10):
        count = next_count(count, [500_000] * count)
    assert count * 500_000 <= 2 * BATCH_BYTES
