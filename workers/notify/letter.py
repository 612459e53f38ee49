"""What a delivering process is told, and what it answers; no more than the standard library is needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["webhook", "email", "apprise", "ping"]
Tone = Literal["failure", "warning", "success", "info"]
# Delivered; not delivered, and it may be taken later; refused for good; or nobody knows.
Ending = Literal["delivered", "failed", "refused", "unknown"]


@dataclass(frozen=True)
class Letter:
    """One message to one place.

    `delivery` is the same at each attempt, `attempt` counts from 1, and it is
    `unsure` if an earlier one may have arrived. `body` (JSON) and `secret` are
    for a webhook, `mail` are Django's settings for e-mail. What holds secrets
    is never printed.
    """

    kind: Kind
    address: str = field(repr=False)
    seconds: float
    allow_http: bool = False
    allow_private: bool = False
    delivery: str = ""
    attempt: int = 1
    unsure: bool = False
    subject: str = ""
    text: str = ""
    tone: Tone = "info"
    body: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    mail: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def packed(self) -> bytes:
        """As a process is told it."""
        return json.dumps(asdict(self)).encode()


@dataclass(frozen=True)
class Outcome:
    """What came of it; `why` is for people."""

    ending: Ending
    why: str = ""

    def packed(self) -> bytes:
        """As a process answers it."""
        return json.dumps(asdict(self)).encode()


def letter_from(packed: bytes) -> Letter:
    """The letter that was packed. Raises ValueError or TypeError for anything else."""
    return Letter(**json.loads(packed))


def outcome_from(packed: bytes) -> Outcome:
    """The answer of a process; one that left without a word has perhaps delivered."""
    try:
        return Outcome(**json.loads(packed))
    except (ValueError, TypeError):
        return Outcome("unknown", "the delivering process ended without a word")
