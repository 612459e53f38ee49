"""What a look at the facts has found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jobs.models.alerts import About

# Numbers with their names: seconds as floats, moments as seconds since the epoch; None for unknown.
Evidence = Mapping[str, float | int | str | None]


@dataclass(frozen=True)
class Finding:
    """Whether a cause is there, and what was seen of it; `holds` None: nobody can tell now."""

    about: About
    key: str
    holds: bool | None
    evidence: Evidence
    task: str | None = None
    queue: str | None = None

    @property
    def worst_first(self) -> tuple[Any, ...]:
        """Its place in a list: those that hold, then the largest `value`."""
        value = self.evidence.get("value")
        return (not self.holds, -(value if isinstance(value, int | float) else 0.0), self.key)


# What a rule has found: what isn't among it has no cause (any more). None: nobody can tell anything now.
Findings = list[Finding] | None


def of_queue(name: str, holds: bool | None, evidence: Evidence) -> Finding:
    """A finding about one queue."""
    return Finding(About.QUEUE, name, holds, evidence, queue=name)


def of_task(name: str, holds: bool | None, evidence: Evidence, queue: str | None = None) -> Finding:
    """A finding about one task; `queue`: the only one that it is in, if so."""
    return Finding(About.TASK, name, holds, evidence, task=name, queue=queue)


def only(names: Iterable[str]) -> str | None:
    """The only one of them, if there is just one."""
    known = set(names)
    return known.pop() if len(known) == 1 else None
