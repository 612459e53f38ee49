"""Light or dark: as the system has it, or as the visitor chose for their browser."""

from __future__ import annotations

from django.http import HttpRequest

COOKIE = "nightdesk-theme"
THEMES = ("light", "dark")


def theme_of(request: HttpRequest) -> str:
    """The one that was chosen; "" leaves it to the system."""
    chosen = request.COOKIES.get(COOKIE, "")
    return chosen if chosen in THEMES else ""
