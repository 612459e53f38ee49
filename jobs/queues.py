"""The queues that this installation declares: name, target and slots."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class QueuePolicy:
    """How a queue should be served.

    `target` is the longest that a job should wait before it is picked up, in
    seconds; `slots` is how many jobs `manage.py up` runs at once from it.
    """

    name: str
    target: float
    slots: int


def parse_queues(text: str) -> dict[str, QueuePolicy]:
    """Read `high:10:4,default:60:4` as name, target in seconds, and slots.

    Raises ValueError with a sentence that names the faulty part.
    """
    policies = [_parse_queue(part.strip()) for part in text.split(",") if part.strip()]
    if not policies:
        raise ValueError("names no queue; write for example QUEUES=high:10:4,default:60:4")
    if len({policy.name for policy in policies}) != len(policies):
        raise ValueError("names a queue twice")
    return {policy.name: policy for policy in policies}


def _parse_queue(text: str) -> QueuePolicy:
    fields = text.split(":")
    if len(fields) != 3:
        raise ValueError(f"part {text!r} is not name:target seconds:slots")
    name, target, slots = fields
    try:
        policy = QueuePolicy(name=name, target=float(target), slots=int(slots))
    except ValueError:
        raise ValueError(f"part {text!r} needs numbers for target and slots") from None
    if not name or policy.target <= 0 or policy.slots < 1:
        raise ValueError(f"part {text!r} needs a name, a target above 0 and at least one slot")
    return policy
