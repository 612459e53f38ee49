"""What people read of alerts: one message for what a channel is told of one rule at a time. Pure.

Names come from jobs, and are hostile: they are put on one line, cut, and can't
call anybody in a chat.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.utils.translation import gettext as _

from jobs.alerts import words
from jobs.models.alerts import Kind
from workers.notify.letter import Tone

Facts = Mapping[str, Any]

LONGEST_SUBJECT, LONGEST_VALUE, LONGEST_TEXT = 150, 200, 12_000
MOST_TOLD = 20
# How numbers of the evidence are written; of those in OF_KIND the kind of the rule tells.
OF_MOMENTS = {"due", "first", "last", "returned"}
OF_SECONDS = {"oldest", "silent", "since"}
OF_KIND = {"value", "limit", "usual"}
SHARES = {Kind.FAILURE_SHARE, Kind.FAILURE_RISE}
TIMES = {
    Kind.SLOW, Kind.OLDEST, Kind.STALLED, Kind.MISSED_TICK, Kind.BEAT_SILENT, Kind.NO_SUCCESS, Kind.NEW_ERROR,
}  # fmt: skip
# What is mostly not so, rather than not known.
RARE = {"returned"}
NO_CALL = "\N{ZERO WIDTH SPACE}"
TONES: dict[str, Tone] = {"page": "failure", "warn": "warning", "info": "info"}


@dataclass(frozen=True)
class Message:
    """What is told: `facts` of each alert, as they were then.

    `public_url` is where the pages are, without a slash at its end; "" if nobody knows.
    """

    event: str
    facts: Sequence[Facts]
    site: str
    public_url: str = ""
    unsure: bool = False

    @property
    def first(self) -> Facts:
        """What all have in common stands in the first one, too."""
        return self.facts[0]


def subject(message: Message) -> str:
    """One line: what happened, of which rule, to what."""
    if message.event == "test":
        return _("[TEST] A message from Nightdesk (%(site)s)") % {"site": line(message.site)}
    keys = [line(each["key"]) for each in message.facts]
    count = f" ({len(keys)})" if len(keys) > 1 else ""
    text = f"[{_word(message.event)}] {line(message.first['name'])}{count}: {', '.join(keys[:5])}"
    return _cut(text, LONGEST_SUBJECT)


def text(message: Message) -> str:
    """Plain text, for mail and chat."""
    if message.event == "test":
        told = [_("%(who)s has tried this channel out: it works.") % {"who": line(message.first["who"])}]
    else:
        told = [_of_one(facts, message) for facts in message.facts[:MOST_TOLD]]
        if (more := len(message.facts) - MOST_TOLD) > 0:
            told.append(_("And %(more)d more.") % {"more": more})
    if message.unsure:
        told.append(_("This may be a second copy: nobody knows whether an earlier attempt has arrived."))
    told.append(f"Nightdesk · {line(message.site)}")
    return "\n\n".join(told)[:LONGEST_TEXT]


def tone(message: Message) -> Tone:
    """How bad it is, as chats paint it."""
    if message.event in ("firing", "escalated"):
        return TONES.get(str(message.first.get("severity")), "warning")
    return "success" if message.event == "resolved" else "info"


def body(message: Message, delivery: str) -> str:
    """JSON for programs."""
    told = {
        "version": 1,
        "delivery": delivery,
        "event": message.event,
        "site": message.site,
        "may_be_repeated": message.unsure,
        "subject": subject(message),
    }
    if message.event == "test":
        return json.dumps({**told, "alerts": []})
    alerts = [{**facts, "url": _url(facts, message.public_url) or None} for facts in message.facts]
    rule = {"name": message.first["name"], "kind": message.first["kind"]}
    return json.dumps({**told, "rule": rule, "severity": message.first["severity"], "alerts": alerts})


def _of_one(facts: Facts, message: Message) -> str:
    lines = [line(facts["summary"] or facts["key"])]
    lines += [
        f"  {line(name)}: {_written(name, told, facts)}"
        for name, told in facts["evidence"].items()
        if told is not None or name not in RARE
    ]
    who = line(facts["acknowledged_by"])
    named = (
        (_("about"), line(facts["key"])),
        (_("since"), _moment(facts["since"])),
        (_("resolved"), _moment(facts["resolved_at"])),
        (_("in hand"), who),
        (_("note"), line(facts["note"])),
        (_("runbook"), facts["runbook"]),
        (_("page"), _url(facts, message.public_url)),
    )
    return "\n".join([*lines, *(f"  {name}: {told}" for name, told in named if told)])


def line(told: Any) -> str:
    """`told` on one line that calls nobody: neither @all nor <!channel>."""
    plain = " ".join("".join(sign if sign.isprintable() else " " for sign in str(told)).split())
    return _cut(plain, LONGEST_VALUE).replace("@", f"@{NO_CALL}").replace("<", f"<{NO_CALL}")


def value(told: Any) -> str:
    """A number as people read it; what isn't known is "?"."""
    if told is None:
        return "?"
    if isinstance(told, bool) or not isinstance(told, int | float):
        return line(told)
    return f"{told:,}" if isinstance(told, int) else f"{told:,.4g}"


def _written(name: str, told: Any, facts: Facts) -> str:
    """A number of the evidence: a moment, seconds, a share or a count, by its name and the kind of rule."""
    if isinstance(told, bool) or not isinstance(told, int | float):
        return value(told)
    if name in OF_MOMENTS:
        return _moment(datetime.fromtimestamp(told, UTC).isoformat())
    if name in OF_KIND and facts["kind"] in SHARES:
        return words.share(told)
    if name in OF_SECONDS or (name in OF_KIND and (facts["kind"] in TIMES or facts["key"] == "lag")):
        return words.duration(told)
    return value(told)


def _word(event: str) -> str:
    told = {
        "firing": _("FIRING"),
        "escalated": _("NOBODY HAS ANSWERED"),
        "acknowledged": _("IN HAND"),
        "resolved": _("RESOLVED"),
    }
    return told[event]


def _moment(iso: str | None) -> str:
    return f"{iso[:10]} {iso[11:19]} UTC" if iso else ""


def _url(facts: Facts, public_url: str) -> str:
    return f"{public_url}/alerts/{facts['alert']}/" if public_url else ""


def _cut(told: str, longest: int) -> str:
    return told if len(told) <= longest else told[: longest - 1] + "…"
