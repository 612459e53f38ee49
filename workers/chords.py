"""A chord over the database: its body starts once, however often its headers are delivered.

Deliveries may repeat, so what counts is which of the header's jobs have an
outcome in the results' table. The body is published before the chord is
forgotten: a kill in between publishes it again, under the same id, and the
first to start claims it (`workers.effects`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from celery import states
from celery.canvas import Signature
from celery.exceptions import ChordError
from celery.result import GroupResult

Metas = Mapping[str, Mapping[str, Any]]


def leaves(result: Any) -> list[str]:
    """The ids of the jobs that a header waits for; those of groups within it, too."""
    if isinstance(result, GroupResult):
        return [leaf for child in result.results or () for leaf in leaves(child)]
    return [result.id]


def joined(result: Any, metas: Metas) -> Any:
    """What the body is given. Raises ChordError for the first job that has not succeeded."""
    if isinstance(result, GroupResult):
        return [joined(child, metas) for child in result.results or ()]
    meta = metas[result.id]
    if meta["status"] != states.SUCCESS:
        raise ChordError(f"Dependency {result.id} raised {meta['result']!r}")
    return meta["result"]


def publish_body(body: Signature, values: Sequence[Any]) -> None:
    """Publish the body, under the id it has always had."""
    body.apply_async((values,))
