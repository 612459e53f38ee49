"""A workflow drawn: a bar of time for each row, and a graph from left to right. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from jobs.models import ENDED, State
from jobs.workflows import BAD, Row

TONES = {"failed": "bad", "rejected": "bad", "revoked": "stop", "succeeded": "ok", "retrying": "warn"}
# Per cent of the whole time: a bar that can still be seen.
THIN = 0.6
WIDE, TALL, GAP_X, GAP_Y, EDGE = 190, 40, 46, 12, 4
MOST_NODES, MOST_LETTERS = 60, 24


@dataclass(frozen=True)
class Bar:
    """What a row waited and ran, in per cent of the time of the workflow; None for what is not known."""

    waited: tuple[str, str] | None
    ran: tuple[str, str] | None
    tone: str


def tone_of(state: str) -> str:
    """The tone of a state's bar."""
    return TONES.get(state, "run" if state == State.RUNNING else "idle")


def bars(rows: Sequence[Row], now: float) -> list[Bar]:
    """One for each row."""
    begins = [row.published.timestamp() for row in rows if row.published]
    if not begins:
        return [Bar(None, None, tone_of(row.state)) for row in rows]
    first, last = min(begins), max(_end(row, now) for row in rows)
    length = max(last - first, 0.001)

    def share(begin: float, end: float) -> tuple[str, str]:
        wide = max(THIN, (end - begin) / length * 100)
        return f"{min(100 - THIN, max(0.0, (begin - first) / length * 100)):.2f}%", f"{wide:.2f}%"

    return [_bar(row, share, _end(row, now)) for row in rows]


def _end(row: Row, now: float) -> float:
    """Where its bar ends: where that is not known, with the last thing that is."""
    if row.open:
        return now
    known = [at.timestamp() for at in (row.published, row.started, row.ended) if at]
    return max(known, default=0.0)


def _bar(row: Row, share: Callable[[float, float], tuple[str, str]], end: float) -> Bar:
    published, started = row.published, row.started
    waited = published and share(published.timestamp(), started.timestamp() if started else end)
    ran = started and share(started.timestamp(), max(end, started.timestamp()))
    return Bar(waited or None, ran or None, tone_of(row.state))


def told(row: Row) -> str:
    """What became of many: "184/200 ok, 3 failed, 13 open"."""
    states = row.states
    failed = sum(states[state] for state in BAD)
    still = sum(count for state, count in states.items() if state not in ENDED)
    parts = [_("%(good)d/%(all)d ok") % {"good": states[State.SUCCEEDED], "all": row.count}]
    parts += [_("%(n)d failed") % {"n": failed}] if failed else []
    parts += [_("%(n)d revoked") % {"n": states[State.REVOKED]}] if states[State.REVOKED] else []
    parts += [_("%(n)d open") % {"n": still}] if still else []
    return ", ".join(parts)


@dataclass(frozen=True)
class Node:
    """A row as a box; sizes are pixels."""

    row: Row
    x: int
    y: int
    tone: str
    name: str
    says: str


@dataclass(frozen=True)
class Graph:
    """Boxes from left to right, and the lines between them as paths."""

    width: int
    height: int
    nodes: list[Node]
    lines: list[str]
    label: str


def graph(rows: Sequence[Row], words: Sequence[str]) -> Graph | None:
    """The drawing; `words` says what each row has come to. None where it would be too much to look at."""
    if not rows or len(rows) > MOST_NODES:
        return None
    columns: dict[int, int] = defaultdict(int)
    nodes: list[Node] = []
    for row, says in zip(rows, words, strict=True):
        x, y = EDGE + row.depth * (WIDE + GAP_X), EDGE + columns[row.depth] * (TALL + GAP_Y)
        columns[row.depth] += 1
        nodes.append(Node(row, x, y, tone_of(row.state), _short(row.first.task), says))
    return Graph(
        width=max(node.x for node in nodes) + WIDE + EDGE,
        height=max(node.y for node in nodes) + TALL + EDGE,
        nodes=nodes,
        lines=[_line(nodes[node.row.under], node) for node in nodes if node.row.under is not None],
        label="; ".join(f"{node.name}: {node.says}" for node in nodes),
    )


def _short(task: str | None) -> str:
    name = (task or "?").rpartition(".")[2] or "?"
    return name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 1]}…"


def _line(before: Node, after: Node) -> str:
    left, right = before.x + WIDE, after.x
    middle = (left + right) // 2
    begin, end = before.y + TALL // 2, after.y + TALL // 2
    return f"M{left} {begin}C{middle} {begin} {middle} {end} {right} {end}"
