"""The small language of triggers: conditions over an object's fields, and arguments made from them. Pure.

    status == "paid" and total >= 100 and old.status != "paid"
    {"order": "=pk", "reason": "paid"}

A condition is a Python expression of comparisons, `and`, `or`, `not`, names
of fields, `old.field` and constants; nothing is called, nothing is looked up.
"""

from __future__ import annotations

import ast
import json
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

LONGEST = 500
OLD = "old"
COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}

Values = Mapping[str, Any]


class Unreadable(ValueError):
    """A condition or arguments that can't be read; the text says why."""


@dataclass(frozen=True)
class Condition:
    """A condition, read and checked; `names` are the fields that it asks for, `old_names` those of before."""

    text: str
    tree: ast.expr | None
    names: frozenset[str] = frozenset()
    old_names: frozenset[str] = frozenset()

    def holds(self, now: Values, before: Values | None) -> bool:
        """Whether it holds for these values. Raises Unreadable if they can't be compared.

        Before a create there is nothing: all of `old` is None.
        """
        if self.tree is None:
            return True
        try:
            return bool(_value(self.tree, now, before or {}))
        except (TypeError, ArithmeticError) as fault:  # as comparing a decimal that is not a number
            raise Unreadable(str(fault) or type(fault).__name__) from fault


def read_condition(text: str, fields: Collection[str]) -> Condition:
    """Read a condition over these fields; an empty one always holds. Raises Unreadable."""
    condition = parse_condition(text)
    for name in sorted((condition.names | condition.old_names) - set(fields)):
        raise Unreadable(f"there is no field {name!r}; there are {', '.join(sorted(fields))}")
    return condition


def parse_condition(text: str) -> Condition:
    """Read a condition over whatever it names; an empty one always holds. Raises Unreadable."""
    if not text.strip():
        return Condition(text, None)
    if len(text) > LONGEST:
        raise Unreadable(f"longer than {LONGEST} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as fault:
        raise Unreadable(f"not an expression: {getattr(fault, 'msg', fault)}") from None
    names, old_names = set[str](), set[str]()
    _check(tree, names, old_names)
    return Condition(text, tree, frozenset(names), frozenset(old_names))


def _check(node: ast.expr, names: set[str], old_names: set[str]) -> None:
    """Raises Unreadable at the first part that the language doesn't have."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == OLD:
        old_names.add(node.attr)
    elif isinstance(node, ast.Name):
        names.add(node.id)
    elif not isinstance(node, ast.Constant):
        for part in _parts(node):
            _check(part, names, old_names)


def _parts(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BoolOp):
        return node.values
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        return [node.operand]
    if isinstance(node, ast.Compare) and all(type(op) in COMPARE for op in node.ops):
        return [node.left, *node.comparators]
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return node.elts
    raise Unreadable(f"{ast.unparse(node)!r} is more than this language has: comparisons, and, or, not")


def _value(node: ast.expr, now: Values, before: Values) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return now.get(node.id)
    if isinstance(node, ast.Attribute):
        return before.get(node.attr)
    if isinstance(node, ast.BoolOp):
        wanted = isinstance(node.op, ast.Or)
        return any(bool(_value(part, now, before)) is wanted for part in node.values) is wanted
    if isinstance(node, ast.UnaryOp):
        inner = _value(node.operand, now, before)
        return not inner if isinstance(node.op, ast.Not) else -inner
    if isinstance(node, ast.Compare):
        return _compared(node, now, before)
    return [_value(part, now, before) for part in _parts(node)]


def _compared(node: ast.Compare, now: Values, before: Values) -> bool:
    values = [_value(part, now, before) for part in (node.left, *node.comparators)]
    pairs = zip(node.ops, values[:-1], values[1:], strict=True)
    return all(COMPARE[type(op)](left, right) for op, left, right in pairs)


def read_arguments(text: str, fields: Collection[str]) -> dict[str, Any]:
    """The arguments as JSON, with fields named by "=field". Raises Unreadable."""
    try:
        arguments = json.loads(text)
    except ValueError as fault:
        raise Unreadable(f"not JSON: {fault}") from None
    if not isinstance(arguments, dict):
        raise Unreadable('not a JSON object, as {"pk": "=pk"}')
    for value in arguments.values():
        if _is_field(value) and value[1:] not in fields:
            raise Unreadable(f"there is no field {value[1:]!r}; there are {', '.join(sorted(fields))}")
    return arguments


def fields_of(arguments: Mapping[str, Any]) -> frozenset[str]:
    """The fields that these arguments name."""
    return frozenset(value[1:] for value in arguments.values() if _is_field(value))


def fill(arguments: Mapping[str, Any], values: Values) -> dict[str, Any]:
    """The arguments for an object with these values."""
    return {name: values.get(value[1:]) if _is_field(value) else value for name, value in arguments.items()}


def _is_field(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("=")
