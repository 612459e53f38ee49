"""Characters that turn round, or hide, the text beside them: written out on every page.

So what a job carries can't be read as something else. static/nightdesk/bind.js
does the same to what frames bring.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

# Marks, embeddings, overrides and isolates of Unicode's bidirectional algorithm, in UTF-8.
TURNS = re.compile(rb"\xd8\x9c|\xe2\x80[\x8e\x8f\xaa-\xae]|\xe2\x81[\xa6-\xa9]")
# What a form sends back must be what was there.
KEPT = re.compile(rb'\svalue="[^"]*"|<textarea(?![^>]*\sreadonly)[^>]*>[^<]*|' + TURNS.pattern)


def inert(text: str) -> str:
    """A text in which they are written out."""
    return TURNS.sub(_written_out, text.encode()).decode()


class Inert:
    """Writes them out in pages, as JSON does: \\u202e."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        is_page = response.headers.get("Content-Type", "").startswith("text/html") and not response.streaming
        if is_page and TURNS.search(response.content):
            response.content = KEPT.sub(_written_out, response.content)
        return response


def _written_out(found: re.Match[bytes]) -> bytes:
    if not TURNS.fullmatch(found[0]):
        return found[0]
    return f"\\u{ord(found[0].decode()):04x}".encode()
