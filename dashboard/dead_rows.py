"""How dead letters are shown: words, badges and what they carry."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dashboard.json_text import legible
from jobs.dead_letters import Kind
from jobs.models import DeadLetter, Job, Payload
from jobs.models.dead import Death, Settled
from jobs.perform import Refused
from jobs.scopes import Scope, scope_of
from jobs.values import read_json

if TYPE_CHECKING:
    from django.contrib.auth.models import User

BADGES = {
    Death.RETRIES: "failed",
    Death.UNKNOWN: "unknown",
    Death.UNREADABLE: "broken",
    Death.POISON: "dead",
}
SETTLED = {Settled.REQUEUED: "sent", Settled.DISCARDED: "revoked", Settled.REVIVED: "succeeded"}
LONGEST_SHOWN = 20_000


@dataclass(frozen=True)
class Row:
    """A letter in a list: its badge and its word; `done` is the badge of what became of it."""

    letter: DeadLetter
    badge: str
    word: str
    done: str


def row(letter: DeadLetter) -> Row:
    why, settled = Death(letter.why), Settled(letter.settled)
    return Row(letter, BADGES[why], str(why.label), SETTLED.get(settled, ""))


def rows(letters: Iterable[DeadLetter]) -> list[Row]:
    return [row(letter) for letter in letters]


@dataclass(frozen=True)
class KindRow:
    """How many letters share a reason and a task."""

    why: str
    badge: str
    word: str
    task: str | None
    count: int


def kinds(found: Iterable[Kind]) -> list[KindRow]:
    return [
        KindRow(kind.why, BADGES[Death(kind.why)], str(Death(kind.why).label), kind.task, kind.count)
        for kind in found
    ]


def kinds_of(letters: Iterable[DeadLetter]) -> list[KindRow]:
    """The same, counted here."""
    counts = Counter((letter.why, letter.task) for letter in letters)
    return kinds(Kind(why, task, count) for (why, task), count in counts.most_common(SHOWN_KINDS))


SHOWN_KINDS = 20


def reasons(refusals: Iterable[Refused]) -> Sequence[tuple[str, int]]:
    """Why some are left, the commonest first."""
    return Counter(str(refusal) for refusal in refusals).most_common()


def detail(letter: DeadLetter, user: User) -> dict[str, Any]:
    """All that the page of one shows, as far as `user` may see it."""
    scope = scope_of(user) or Scope(payload=False)
    job = Job.objects.visible_to(user).filter(pk=letter.job_id).first() if letter.is_a_job else None
    letter.exception = scope.words_of(letter.exception)
    return {
        "letter": letter,
        "row": row(letter),
        "job": job,
        "hidden": not scope.payload,
        "carried": _carried(letter, scope),
        "headers": _headers(letter) if scope.payload else "",
    }


def _carried(letter: DeadLetter, scope: Scope) -> str | None:
    """What is to be sent again, or what is left of it; None where nothing may be shown, or is known."""
    if not scope.payload:
        return None
    if letter.job_id is None:
        return visible(letter.shown or "") or None if letter.raw is None else _text(letter.raw)
    payload = Payload.objects.filter(job_id=letter.job_id).first()
    if payload is None:
        return None
    return _pretty(payload.body) if payload.body else _cleaned(payload)


def _text(raw: str) -> str:
    """Bytes as far as they are text; others as \\x…"""
    return visible(base64.b64decode(raw)[:LONGEST_SHOWN].decode(errors="backslashreplace"))


def visible(text: str) -> str:
    """Text in which what has no shape of its own, or turns the direction of writing, can be seen."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else _escaped(letter) for letter in text
    )


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def _cleaned(payload: Payload) -> str | None:
    told = [text for text in (payload.args, payload.kwargs) if text]
    return "\n".join(map(_pretty, told)) or None


def _headers(letter: DeadLetter) -> str:
    return _pretty(letter.headers or "")


def _pretty(text: str) -> str:
    try:
        return legible(read_json(text), indent=2)[:LONGEST_SHOWN]
    except ValueError:
        return text[:LONGEST_SHOWN]
