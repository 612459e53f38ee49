"""What a PromQL expression, or a Grafana variable, asks for: names of series with their labels."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<name>\$?[A-Za-z_:][\w:]*)"""
    r"""|(?P<number>\d[\w.]*)|(?P<op>=~|!~|!=|==|>=|<=|[-+*/%^<>=@(){}\[\],])|(?P<space>\s+)|(?P<odd>.)"""
)
WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan", "start", "end"}
GROUPING = {"by", "without", "on", "ignoring", "group_left", "group_right"}


@dataclass
class Asked:
    """Series by name, each with the labels that are matched; and the labels by which they are grouped."""

    series: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    grouped: set[str] = field(default_factory=set)


def asked_by(expression: str) -> Asked:
    """Raises ValueError for what is no expression."""
    found, tokens = Asked(), list(_tokens(expression))
    here = 0
    while here < len(tokens):
        word, after = tokens[here], tokens[here + 1] if here + 1 < len(tokens) else ""
        if word == "[":
            here = tokens.index("]", here)
        elif word in GROUPING and after == "(":
            end = tokens.index(")", here)
            found.grouped |= {name for name in tokens[here + 2 : end] if name != ","}
            here = end
        elif _is_series(word, after):
            found.series[word] |= set()
            if after == "{":
                end = tokens.index("}", here)
                found.series[word] |= _matched(tokens[here + 2 : end])
                here = end
        here += 1
    return found


def asked_by_variable(query: str) -> Asked:
    """Of Grafana's `label_values(series, label)`; nothing of any other query."""
    found = re.fullmatch(r"label_values\((.*),\s*(\w+)\)", query.strip(), re.DOTALL)
    if found is None:
        return Asked()
    asked = asked_by(found[1])
    asked.grouped.add(found[2])
    return asked


def _tokens(expression: str) -> Iterator[str]:
    for token in TOKEN.finditer(expression):
        if token.lastgroup == "odd":
            raise ValueError(f"{token[0]!r} in {expression!r}")
        if token.lastgroup != "space":
            yield token[0]


def _matched(tokens: list[str]) -> set[str]:
    return {name for name, after in pairwise(tokens) if after in ("=", "!=", "=~", "!~")}


def _is_series(word: str, after: str) -> bool:
    """Neither a function, nor what aggregates, nor a word of the language."""
    of_language = word.lower() in WORDS | GROUPING or after == "(" or after in ("by", "without")
    return re.match(r"[A-Za-z_:]", word) is not None and not of_language
