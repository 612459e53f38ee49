"""Charts as SVG: pure, without script, and readable without colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WIDTH, HEIGHT = 720, 160
GROUND = HEIGHT - 20
GAP = 0.15


@dataclass(frozen=True)
class Column:
    """One step of time: how much of each part, and what is said of it. None is not known."""

    label: str
    parts: tuple[float | None, ...]


def columns(title: str, classes: Sequence[str], data: Sequence[Column], unit: str = "") -> SafeString:
    """Stacked columns, one a step; `classes` are the CSS classes of the parts."""
    highest = max((_sum(column) for column in data), default=0.0)
    width = WIDTH / max(1, len(data))
    drawn = format_html_join(
        "",
        "{}",
        ((_column(column, classes, index * width, width, highest),) for index, column in enumerate(data)),
    )
    return format_html(
        '<figure><figcaption>{} {} <small>highest: {}{}</small></figcaption>'
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}'
        '<line x1="0" x2="{}" y1="{}" y2="{}"/>'
        '<text x="0" y="{}">{}</text><text x="{}" y="{}" text-anchor="end">{}</text></svg></figure>',
        title, _legend(classes), f"{highest:,.4g}", unit, WIDTH, HEIGHT, title, drawn,
        WIDTH, GROUND, GROUND,
        HEIGHT - 4, data[0].label if data else "", WIDTH, HEIGHT - 4, data[-1].label if data else "",
    )  # fmt: skip


def _legend(classes: Sequence[str]) -> SafeString | str:
    if len(classes) == 1:
        return ""
    return format_html_join(" ", '<span class="legend {0}">{0}</span>', ((name,) for name in classes))


def _sum(column: Column) -> float:
    return sum(part or 0.0 for part in column.parts)


def _column(column: Column, classes: Sequence[str], left: float, width: float, highest: float) -> SafeString:
    known = [
        f"{name} {part:,.4g}" for name, part in zip(classes, column.parts, strict=True) if part is not None
    ]
    rects, top = [], float(GROUND)
    for name, part in zip(classes, column.parts, strict=True):
        tall = (part or 0.0) / highest * (GROUND - 4) if highest else 0.0
        top -= tall
        if tall:
            rects.append((name, f"{left:.2f}", f"{top:.2f}", f"{width * (1 - GAP):.2f}", f"{tall:.2f}"))
    bars = format_html_join("", '<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>', rects)
    return format_html("<g><title>{}: {}</title>{}</g>", column.label, ", ".join(known) or "?", bars)
