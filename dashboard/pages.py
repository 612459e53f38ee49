"""The pages that lead to all others: one list for the side, the dock of a phone, the palette and the keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from dashboard.visitors import oversees
from jobs import access


def _everybody(_: User) -> bool:
    return True


def _auditors(user: User) -> bool:
    return access.has(user, "view_audit")


@dataclass(frozen=True)
class Page:
    """A page by the name of its address.

    `key` goes there after "g". Addresses whose names begin with one of `of`
    belong to it. `docked`: within reach of a thumb on a phone, where five have
    room. `for_whom` says who is shown the way there; the page itself judges.
    """

    name: str
    title: str | Promise
    icon: str
    key: str
    of: tuple[str, ...] = ()
    docked: bool = False
    for_whom: Callable[[User], bool] = _everybody

    def standing(self, place: str) -> str:
        """`aria-current` of the way there, at the address of this name; empty where that is elsewhere."""
        if place == self.name:
            return "page"
        return "true" if self.of and place.startswith(self.of) else ""


# In the order of the side.
PAGES: tuple[Page, ...] = (
    Page("overview", gettext_lazy("Overview"), "n-overview", "o", docked=True),
    Page("jobs", gettext_lazy("Jobs"), "n-jobs", "j", of=("job", "bulk", "run"), docked=True),
    Page("errors", gettext_lazy("Errors"), "n-errors", "e", of=("error",)),
    Page("tasks", gettext_lazy("Tasks"), "n-tasks", "t", of=("task",)),
    Page("workflows", gettext_lazy("Workflows"), "n-workflows", "f", of=("workflow",)),
    Page("dead-letters", gettext_lazy("Dead letters"), "n-dead", "d", of=("dead",)),
    Page("queues", gettext_lazy("Queues"), "n-queues", "q", of=("queue",), docked=True),
    Page("workers", gettext_lazy("Workers"), "n-workers", "w", of=("worker",), docked=True),
    Page("schedules", gettext_lazy("Schedules"), "n-schedules", "s", of=("schedule",)),
    Page("alerts", gettext_lazy("Alerts"), "n-alerts", "a", of=("alert", "rule"), docked=True),
    Page("coverage", gettext_lazy("Coverage"), "n-coverage", "c", of=("gaps", "quarantine")),
    Page("triggers", gettext_lazy("Triggers"), "n-triggers", "r", of=("trigger",), for_whom=oversees),
    Page("audit", gettext_lazy("Audit"), "n-audit", "u", of=("audit",), for_whom=_auditors),
)


def pages_for(user: User) -> list[Page]:
    """Those that somebody is shown the way to."""
    return [page for page in PAGES if page.for_whom(user)]
