"""Nothing secret, and nothing endless, leaves the process.

`clean` copies a value with the values of sensitive keys, and what looks like
a secret in any text, replaced. It stops at a budget, so that a huge argument
costs no more than a small one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HIDDEN = "[hidden]"
CUT = "[cut]"
DEEPEST = 20
TEXT_SCANNED = 100_000

_SECRET_TEXT = re.compile(
    r"(?P<keep>://[^/\s:@]{0,64}:)[^/\s@]{1,256}(?=@)"  # user:password@host
    r"|(?P<keep2>\b(?:Bearer|Basic)\s+)[A-Za-z0-9._~+/=-]{8,4096}"
    r"|\beyJ[A-Za-z0-9_-]{8,4096}\.[A-Za-z0-9_-]{8,4096}\.[A-Za-z0-9_-]*"  # a JSON web token
    r"|\b(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{8,256}"
    r"|\bAKIA[0-9A-Z]{16}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,255}\b"
    r"|-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----[\s\S]{0,8192}?(?:-----END [A-Z ]{0,32}PRIVATE KEY-----|\Z)"
)


@dataclass
class Cleaned:
    """A copy fit to be stored; `hidden` and `cut` say whether it differs from the original."""

    value: Any
    hidden: bool
    cut: bool


class Redactor:
    """Replaces secrets. A key is sensitive if it contains one of the given words, in any case."""

    def __init__(self, sensitive_keys: tuple[str, ...]) -> None:
        words = "|".join(re.escape(word).replace("_", "[_-]?") for word in sensitive_keys) or r"(?!)"
        self._sensitive = re.compile(words, re.IGNORECASE)
        # As repr() and str() write a dict or a call: 'password': 'x', password=x
        self._pair = re.compile(
            rf"(?P<keep>['\"]?[\w.-]{{0,64}}(?:{words})[\w.-]{{0,64}}['\"]?\s{{0,4}}[:=]\s{{0,4}})"
            r"(?:'(?:[^'\\]|\\.){0,4096}'?|\"(?:[^\"\\]|\\.){0,4096}\"?|[^\s,;)}\]'\"]{1,4096})",
            re.IGNORECASE,
        )

    def text(self, text: str) -> str:
        """`text` with what looks like a secret replaced."""
        return self._pair.sub(_hide, _SECRET_TEXT.sub(_hide, text))

    def clean(self, value: Any, budget: int) -> Cleaned:
        """Copy `value` (as JSON knows values) within `budget` characters."""
        walk = _Walk(self, budget)
        copy = walk.copy(value, 0)
        return Cleaned(copy, walk.hidden, walk.cut)

    def is_sensitive(self, key: str) -> bool:
        return self._sensitive.search(key) is not None


class _Walk:
    def __init__(self, redactor: Redactor, budget: int) -> None:
        self._redactor = redactor
        self._left = budget
        self.hidden = False
        self.cut = False

    def copy(self, value: Any, depth: int) -> Any:
        self._left -= 4
        if self._left <= 0 or depth > DEEPEST:
            self.cut = True
            return CUT
        if isinstance(value, str):
            return self._copy_text(value)
        if isinstance(value, Mapping):
            return self._copy_mapping(value, depth)
        if isinstance(value, list | tuple | set | frozenset):
            return self._copy_items(value, depth)
        if value is None or isinstance(value, bool | int | float):
            return value
        return self._copy_text(str(value))

    def _copy_text(self, text: str) -> str:
        taken = text[: max(self._left, 0)]
        self._left -= len(taken)
        if len(taken) < len(text):
            self.cut = True
        cleaned = self._redactor.text(taken)
        if cleaned != taken:
            self.hidden = True
        return cleaned if len(taken) == len(text) else cleaned + CUT

    def _copy_mapping(self, mapping: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        copy: dict[str, Any] = {}
        for key, value in mapping.items():
            if self._left <= 0:
                self.cut = True
                break
            name = self._copy_text(str(key))
            if self._redactor.is_sensitive(name) and value is not None and not isinstance(value, bool):
                copy[name] = HIDDEN
                self.hidden = True
            else:
                copy[name] = self.copy(value, depth + 1)
        return copy

    def _copy_items(self, items: Any, depth: int) -> list[Any]:
        copy = []
        for item in items:
            copy.append(self.copy(item, depth + 1))
            if self._left <= 0:
                self.cut = self.cut or len(copy) < len(items)
                break
        return copy


def _hide(match: re.Match[str]) -> str:
    groups = match.groupdict()
    return (groups.get("keep") or groups.get("keep2") or "") + HIDDEN


def shorten(text: str, longest: int) -> str:
    """`text` within `longest` characters: its head and its tail, since both tell."""
    if len(text) <= longest:
        return text
    head, tail = longest * 2 // 3, longest // 3
    return f"{text[:head]}\n… {len(text) - head - tail:,} characters left out …\n{text[-tail:]}"
