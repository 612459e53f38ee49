"""The keys: what each of them does, once.

The sheet (`?`) is made of this list, and static/nightdesk/keys.js obeys what it reads in the sheet.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from dashboard.pages import Page


@dataclass(frozen=True)
class Key:
    """`keys`: as KeyboardEvent.key names them, one after the other; "Mod+k" is held down with ⌘ or Ctrl.

    `does` is a deed of keys.js; empty for what browsers do anyway. `address` is where "go" goes.
    """

    keys: str
    what: str | Promise
    does: str = ""
    address: str = ""

    @property
    def caps(self) -> list[str]:
        """What is written on the keys."""
        return ["Ctrl K", "⌘ K"] if self.keys == "Mod+k" else self.keys.split(" ")


ANYWHERE = (
    Key("/", gettext_lazy("Find, in this list or anything"), "find"),
    Key("Mod+k", gettext_lazy("Palette: pages, names, job ids, what this page can do"), "palette"),
    Key("?", gettext_lazy("This sheet"), "sheet"),
    Key("Escape", gettext_lazy("Close what is open")),
)
IN_LISTS = (
    Key("j", gettext_lazy("Next row"), "next"),
    Key("k", gettext_lazy("Row before"), "previous"),
    Key("Enter", gettext_lazy("Open the row")),
    Key("x", gettext_lazy("Choose the row, where rows can be chosen"), "choose"),
)


@dataclass(frozen=True)
class Group:
    """Keys that belong together, and where they work."""

    where: str | Promise
    keys: tuple[Key, ...]


def groups_for(pages: Iterable[Page]) -> list[Group]:
    """All keys of somebody who is shown these pages."""
    return [
        Group(gettext_lazy("Anywhere"), ANYWHERE),
        Group(gettext_lazy("In lists"), IN_LISTS),
        Group(gettext_lazy("Go to"), tuple(_to(page) for page in pages)),
    ]


def _to(page: Page) -> Key:
    return Key(f"g {page.key}", page.title, "go", reverse(page.name))
