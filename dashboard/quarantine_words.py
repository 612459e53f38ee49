"""Why events are set aside, in words: what it means, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Text = str | Promise


@dataclass(frozen=True)
class Meaning:
    """What a reason means, and what to do about it."""

    what: Text
    todo: Text


NOT_OURS = Meaning(
    _("Something in the stream is not what a recorder writes."),
    _("Find who else writes to the stream; nothing but recorders should."),
)
CUT_SHORT = Meaning(
    _("The events of an entry can't be read: it is damaged, or another program wrote it."),
    _("If it goes on, look for a proxy that cuts what it passes on, and for other writers of the stream."),
)
NO_PLACE = Meaning(
    _("An event lacks what it takes to know which job or worker it is about, or when it happened."),
    _("Look at the sample for who sent it: events of a program's own may leave out what Celery sends."),
)
OURS = Meaning(
    _("The recorder failed in the place that the sample names, and an event is missing there."),
    _("Please tell its makers, with the sample and the log of that process."),
)
REFUSED = Meaning(
    _("The database refused what these events hold. The events around them are recorded."),
    _("Please tell the makers of Nightdesk, with the sample and the log of the monitor."),
)
KILLER = Meaning(
    _("Each process that read this entry ended by it, so it was passed over in the end."),
    _("Look for what ended the monitor then, such as a limit of memory, and for who writes such entries."),
)
TOO_DEEP = Meaning(
    _("An event is nested deeper than anything that is kept."),
    _("Look at the sample for the job whose progress or arguments are so deep, and make them flatter."),
)
OTHER = Meaning(
    _("These events could not be recorded; the events around them are."),
    _("Look at the sample for who sent them."),
)
# How a reason begins -> what it means.
MEANINGS: dict[str, Meaning] = {
    "not an entry": NOT_OURS,
    "not an object": NOT_OURS,
    "no type": NOT_OURS,
    "not JSON": CUT_SHORT,
    "not the events it counts": CUT_SHORT,
    "no task id": NO_PLACE,
    "task id too long": NO_PLACE,
    "no time": NO_PLACE,
    "the recorder failed": OURS,
    "refused": REFUSED,
    "killed its reader": KILLER,
    "nested too deeply": TOO_DEEP,
}


def meaning_of(reason: str) -> Meaning:
    """What to say of a reason, known or not."""
    return next((meaning for start, meaning in MEANINGS.items() if reason.startswith(start)), OTHER)
