"""Families of samples, and their text: Prometheus's own format and OpenMetrics. Pure.

prometheus_client's exposition takes 10 to 15 µs a sample, and a scrape of a
large installation has a hundred thousand; this takes a tenth. Its two parsers
judge the text in tests/test_scrape_metrics.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

Value = int | float
# A label's name and its value, without quotes.
Labels = Sequence[tuple[str, str]]

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"


@dataclass
class Family:
    """Samples of one name; a counter is named without its `_total`.

    `lines` are whole lines of both formats: they differ in what stands around them alone.
    """

    name: str
    kind: str
    help: str
    lines: list[str] = field(default_factory=list)

    def add(self, labels: Labels, value: Value) -> None:
        """One sample of a counter or gauge."""
        suffix = "_total" if self.kind == COUNTER else ""
        self.lines.append(f"{self.name}{suffix}{braced(labels)} {number(value)}")

    def add_histogram(self, labels: Labels, bounds: Sequence[str], observed: Sequence[Value]) -> None:
        """One histogram: `observed` is its sum, then how many were within each bound, and beyond the last.

        `bounds` end with +Inf.
        """
        inner = ",".join(quoted(labels))
        before, after = f'{self.name}_bucket{{{inner}{"," if inner else ""}le="', '"} '
        seen = 0
        for bound, count in zip(bounds, observed[1:], strict=True):
            seen += int(count)
            self.lines.append(f"{before}{bound}{after}{seen}")
        of_all = braced(labels)
        self.lines.append(f"{self.name}_count{of_all} {seen}")
        self.lines.append(f"{self.name}_sum{of_all} {number(observed[0])}")


def bounds_of(bounds: Iterable[float]) -> list[str]:
    """The labels `le` of a histogram."""
    return [*(repr(float(bound)) for bound in bounds), "+Inf"]


def braced(labels: Labels) -> str:
    """`{name="value",…}`, or nothing."""
    return "{" + ",".join(quoted(labels)) + "}" if labels else ""


def quoted(labels: Labels) -> Iterator[str]:
    return (f'{name}="{escaped(value)}"' for name, value in labels)


def escaped(text: str) -> str:
    """A label's value as it stands between quotes."""
    if "\\" in text or '"' in text or "\n" in text:
        return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return text


def number(value: Value) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))


def text_of(families: Iterable[Family], *, openmetrics: bool) -> bytes:
    """All of them; families without a sample are left out."""
    lines: list[str] = []
    for family in families:
        if family.lines:
            name = family.name
            if family.kind == COUNTER and not openmetrics:
                name += "_total"
            lines.append(f"# HELP {name} {family.help}")
            lines.append(f"# TYPE {name} {family.kind}")
            lines += family.lines
    if openmetrics:
        lines.append("# EOF")
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")
