"""The set-based SQL of each database leaves the rows that a plain reading of `tables` says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.apps import apps
from django.db import DatabaseError, connection, models, transaction
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from jobs import store
from jobs.batch import REFUSALS
from jobs.models import Job
from jobs.store import postgres, sqlite_child
from jobs.store.tables import TABLES, Table, moment

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RANGES: dict[type[models.Field[Any, Any]], tuple[int, int]] = {
    models.PositiveSmallIntegerField: (0, 2**15 - 1),
    models.SmallIntegerField: (-(2**15), 2**15 - 1),
    models.PositiveIntegerField: (0, 2**31 - 1),
    models.IntegerField: (-(2**31), 2**31 - 1),
    models.BigIntegerField: (-(2**63), 2**63 - 1),
}
KINDS = sorted(TABLES)
# Columns that a rule reads: counts that can be added up, words that it knows.
SOME: dict[str, st.SearchStrategy[Any]] = {
    "times": st.integers(1, 1_000),
    "settled": st.sampled_from(["", "revived", "requeued", "discarded"]),
}
# Anything but NUL and halves of pairs, which values.storable takes out.
CHARACTERS = st.characters(exclude_characters="\x00", exclude_categories=["Cs"])
AWKWARD = ("\\N", "\\.", "\\", "a\tb\nc\r", "%s", "'; --", "{NULL}", "", "é\u202e😀", "\x01\x7f")
HUGE = "x" * 150_000 + "\\\t\n" * 50


def model_of(table: Table) -> type[models.Model]:
    return next(model for model in apps.get_models() if model._meta.db_table == table.name)


def fields_of(table: Table) -> dict[str, models.Field[Any, Any]]:
    known = {field.column: field for field in model_of(table)._meta.concrete_fields}
    return {name: known[name] for name in (*table.key, *table.columns)}


def texts(longest: int | None) -> st.SearchStrategy[str]:
    awkward = st.sampled_from(AWKWARD)
    drawn = st.text(CHARACTERS, max_size=min(longest or 30, 30))
    return st.one_of(drawn, awkward, st.just(HUGE[:longest]))


def values(field: models.Field[Any, Any]) -> st.SearchStrategy[Any]:
    """What a column may hold, in the way that rows give it."""
    told: st.SearchStrategy[Any]
    if isinstance(field, models.DateTimeField):
        told = st.integers(946_684_800_000_001, 4_102_444_799_999_999).map(lambda us: moment(us / 1e6))
    elif isinstance(field, models.FloatField):
        told = st.floats(allow_nan=False, allow_infinity=False)
    elif isinstance(field, models.BooleanField):
        told = st.booleans()
    elif isinstance(field, models.IntegerField):
        told = st.integers(*next(limits for kind, limits in RANGES.items() if isinstance(field, kind)))
    else:
        told = texts(field.max_length)
    return st.one_of(st.none(), told) if field.null else told


@st.composite
def batches(draw: st.DrawFn, kind: str) -> list[list[list[Any]]]:
    """Rows of one kind in several writes; a key comes again in another write, never in the same one."""
    table, fields = TABLES[kind], fields_of(TABLES[kind])
    numbers = st.lists(st.integers(1, 4), unique=True, min_size=1, max_size=4)
    return [
        [
            [
                key_value(fields[name], number)
                if name in (*table.key, "cluster_id", "task_id")
                else draw(SOME[name] if name in SOME else values(fields[name]))
                for name in fields
            ]
            for number in draw(numbers)
        ]
        for _ in range(draw(st.integers(1, 3)))
    ]


def key_value(field: models.Field[Any, Any], number: int) -> Any:
    """The same for the same number; the cluster there is but one."""
    if field.column == "cluster_id":
        return 1
    return number if isinstance(field, models.IntegerField | models.ForeignKey) else f"Key-{number}'\\"


def merged(table: Table, writes: Iterable[Sequence[Sequence[Any]]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The rows that should be there, by key."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    names = (*table.key, *table.columns)
    for row in (dict(zip(names, row, strict=True)) for write in writes for row in write):
        key = tuple(row[name] for name in table.key)
        rows[key] = after(table, rows[key], row) if key in rows else row
    return rows


def after(table: Table, stored: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """One row over another, as the docstring of Table has it."""
    row = {**told, **{name: stored[name] for name in table.kept if told[name] is None}}
    for leader, led in table.latest.items():
        leads = told[leader] is not None and (stored[leader] is None or told[leader] > stored[leader])
        row.update({name: (told if leads else stored)[name] for name in (leader, *led)})
    return row | {name: RULES[rule](stored[name], told[name]) for name, rule in table.rules.items()}


# What the rules of `tables` mean.
RULES: dict[str, Callable[[Any, Any], Any]] = {
    "{stored}": lambda stored, told: stored,
    "{stored} + {told}": lambda stored, told: stored + told,
    "CASE WHEN {stored} IN ('', 'revived') THEN {told} ELSE {stored} END": lambda stored, told: (
        told if stored in ("", "revived") else stored
    ),
}


def stored(table: Table) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The rows that are there, by key, times as the rows give them."""
    names = [field.attname for field in fields_of(table).values()]
    rows = [
        dict(zip(fields_of(table), map(as_told, row), strict=True))
        for row in model_of(table)._base_manager.values_list(*names)
    ]
    return {tuple(row[name] for name in table.key): row for row in rows}


def as_told(value: Any) -> Any:
    if isinstance(value, datetime):
        return moment((value - EPOCH) / timedelta(microseconds=1) / 1e6)
    return value


@st.composite
def any_kind(draw: st.DrawFn) -> tuple[str, list[list[list[Any]]]]:
    kind = draw(st.sampled_from(KINDS))
    return kind, draw(batches(kind))


@contextmanager
def bulk_begins_at(rows: int) -> Iterator[None]:
    """From how many rows on they are written in another way than few."""
    with (
        patch.object(postgres, "FEW_ROWS", rows - 1),
        patch.object(sqlite_child, "STATEMENT_ROWS", rows),
    ):
        yield


class Rows(TestCase):
    @hypothesis_settings(parent=hypothesis_settings.default, max_examples=150)
    @given(any_kind(), st.booleans())
    def test_what_is_written_is_what_is_read(
        self, drawn: tuple[str, list[list[list[Any]]]], in_bulk: bool
    ) -> None:
        kind, writes = drawn
        with bulk_begins_at(2 if in_bulk else 100):
            for rows in writes:
                store.write(kind, rows)
        assert stored(TABLES[kind]) == merged(TABLES[kind], writes)


def row_of(kind: str, number: int, **told: Any) -> list[Any]:
    """A row with the least that it must hold."""
    least = {
        "state": "queued",
        "attempts": 0,
        "retries": 0,
        "delivery": 0,
        "rank": 0,
        "seen_at": moment(1.79e9),
    }
    return [
        told.get(
            name, key_value(field, number) if name in ("id", "cluster_id", "task_id") else least.get(name)
        )
        for name, field in fields_of(TABLES[kind]).items()
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "odd",
    [
        {"task": "a\x00b"},
        {"task": "half \ud800"},
        {"task": "x" * 256},
        {"retries": 2**31},
        {"retries": -1},
        {"delivery": 2**63},
        {"delivery": 2**64},
        {"seen_at": None},
        {"seen_at": "yesterday or so"},
    ],
    ids=str,
)
@pytest.mark.parametrize("bulk", [2, 100])
def test_what_a_database_refuses_is_refused_whole_and_in_a_way_that_is_known(
    odd: dict[str, Any], bulk: int
) -> None:
    rows = [row_of("job", 1), row_of("job", 2, **odd)]
    try:
        with bulk_begins_at(bulk), transaction.atomic():
            store.write("job", rows)
    except (DatabaseError, *REFUSALS):
        assert Job.objects.count() == 0
        store.write("job", rows[:1])
        assert Job.objects.get().task_id == "Key-1'\\"
    else:
        assert connection.vendor == "sqlite"


@pytest.mark.parametrize("bulk", [1, 100])
@pytest.mark.django_db
def test_two_writes_in_one_transaction_do_not_see_each_others_rows(bulk: int) -> None:
    with bulk_begins_at(bulk):
        store.write("job", [row_of("job", 1), row_of("job", 2)])
        Job.objects.filter(id=1).update(state="failed")
        store.write("job", [row_of("job", 3)])
    assert sorted(Job.objects.values_list("id", "state")) == [(1, "failed"), (2, "queued"), (3, "queued")]


@pytest.mark.parametrize("bulk", [1, 100])
@pytest.mark.django_db(transaction=True)
def test_what_was_rolled_back_is_not_in_the_next_write(bulk: int) -> None:
    with bulk_begins_at(bulk):
        with transaction.atomic():
            store.write("job", [row_of("job", 1)])
            transaction.set_rollback(True)
        store.write("job", [row_of("job", 2)])
    assert list(Job.objects.values_list("id", flat=True)) == [2]


@pytest.mark.parametrize("fraction", [0.0, 0.000001, 0.4995, 0.9995, 0.999999])
def test_a_time_comes_back_to_the_microsecond(db: None, fraction: float) -> None:
    at = round(1_790_000_175 + fraction, 6)
    columns = {
        "job_id": 1,
        "retries": 0,
        "delivery": 0,
        "state": "received",
        "rank": 10,
        "received_at": moment(at),
    }
    table = TABLES["attempt"]
    store.write("attempt", [[columns.get(name) for name in (*table.key, *table.columns)]])
    [(us,)] = store.read("attempt", ["received_at"], "job_id", [1])
    assert us / 1_000_000 == at
