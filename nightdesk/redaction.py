"""Nothing secret, and nothing endless, leaves the process.

`clean` copies a value with the values of sensitive keys, and what looks like
a secret in any text, replaced. It stops at a budget, so that a huge argument
costs no more than a small one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

HIDDEN = "[hidden]"
CUT = "[cut]"
DEEPEST = 20
TEXT_SCANNED = 100_000
LONGEST_INT = 1024
PLAIN = (bool, int, float, date, time, timedelta, tzinfo, Decimal, Enum, PurePath, UUID)

# Possessive quantifiers (`++`, `*+`) keep these linear: a hostile text must not hold up a publisher.
_SECRET_TEXT = re.compile(
    r"(?P<keep>://[^/\s:@]{0,64}:)[^/\s]{1,1024}(?=@)"  # user:password@host
    r"|(?P<keep2>\b(?:Bearer|Basic)\s{1,20}+)[A-Za-z0-9._~+/=-]{8,}+"
    r"|(?P<keep3>\b(?i:authorization|cookie)['\"]?\s{0,20}+[:=]\s{0,20}+)[^'\"\s][^'\"\r\n]*+"  # a header
    r"|(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,4096}+\.[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]*+"  # a JSON web token
    r"|\b(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{8,}+"
    r"|\b(?:sk|glpat|xox[abeprs])-[A-Za-z0-9_-]{20,}+"
    r"|\bA(?:KIA|SIA)[0-9A-Z]{16}\b"
    r"|\bAIza[A-Za-z0-9_-]{35,}+"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}+"
    r"|\bgithub_pat_[A-Za-z0-9_]{20,}+"
    r"|-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----(?:[^-]++|-(?!----END))*+(?:-----END [A-Z ]{0,32}-----)?"
)
# None of the above matches a text that has none of these; asking for them is twenty times cheaper.
_SECRET_SIGNS = (
    "://", "Bearer", "Basic", "eyJ", "_live_", "_test_", "sk-", "glpat-", "xox", "AKIA", "ASIA", "AIza",
    "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "PRIVATE KEY",
)  # fmt: skip
_HEADER_SIGNS = ("authorization", "cookie")
# What stands after a sensitive key, in the ways of repr(), str() and JSON, also as JSON within JSON.
_VALUE = (
    r"(?:[bru]{0,2}'(?:[^'\\]++|\\.)*+'?"
    r"|[bru]{0,2}\"(?:[^\"\\]++|\\.)*+\"?"
    r"|(?P<quote>\\{1,8}+['\"])(?:(?!(?P=quote)).)*+(?P=quote)?"
    r"|[\[({][^\])}]*+[\])}]?"
    r"|[^\s,;)}\]'\"]++(?:['\"][^'\"]*+['\"]?)?)"
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
            rf"(?P<keep>(?:{words})[\w.-]{{0,64}}+\\{{0,8}}+['\"]?\s{{0,20}}+[:=]\s{{0,20}}+){_VALUE}",
            re.IGNORECASE | re.DOTALL,
        )
        # The longest part of each word: a text without any of them has no sensitive key.
        self._signs = tuple({max(word.casefold().split("_"), key=len) for word in sensitive_keys})

    def text(self, text: str) -> str:
        """`text` with what looks like a secret replaced."""
        folded = text.casefold()
        if _has_any(text, _SECRET_SIGNS) or _has_any(folded, _HEADER_SIGNS):
            text = _SECRET_TEXT.sub(_hide, text)
        return self._pair.sub(_hide, text) if _has_any(folded, self._signs) else text

    def excerpt(self, text: str, longest: int) -> str:
        """`text` redacted, then within `longest`: a cut must not part a secret from what tells it is one."""
        scanned = shorten(text, TEXT_SCANNED)
        return shorten(self.text(scanned), longest, len(text) - len(scanned))

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
            return self._copy_number(value)
        return self._copy_text(described(value, self._left))

    def _copy_number(self, value: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)  # which JSON doesn't know
        if isinstance(value, int) and value.bit_length() > LONGEST_INT:
            self.cut = True
            return CUT
        return value

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
            name = self._copy_text(key if isinstance(key, str) else described(key, self._left))
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


def described(value: Any, budget: int) -> str:
    """A short text for `value`. No code of a program's own runs: its str() might ask a database."""
    if isinstance(value, bytes | bytearray):
        return str(bytes(value[: budget + 1]))
    if isinstance(value, PLAIN) or value is None:
        return str(value)
    return f"<{type(value).__module__}.{type(value).__qualname__}>"


def _has_any(text: str, signs: tuple[str, ...]) -> bool:
    for sign in signs:  # a plain loop: a generator costs more than the search  # noqa: SIM110
        if sign in text:
            return True
    return False


def _hide(match: re.Match[str]) -> str:
    groups = match.groupdict()
    return (groups.get("keep") or groups.get("keep2") or groups.get("keep3") or "") + HIDDEN


def shorten(text: str, longest: int, left_out: int = 0) -> str:
    """`text` within `longest` characters: its head and its tail, since both tell.

    `left_out` characters of its middle were left out before.
    """
    if len(text) <= longest:
        return text
    head, tail = longest * 2 // 3, longest // 3
    left_out += len(text) - head - tail
    return f"{text[:head]}\n… {left_out:,} characters left out …\n{text[-tail:]}"
