"""What the tasks of this program take: their parameters, and whether given arguments fit.

A task that only other programs know can't be judged here: then only the shape
of its arguments is known to be right.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from django.utils.translation import gettext as _

from nightdesk.redaction import CUT, HIDDEN
from nightdesk.worker_facts import own_tasks
from workers.app import app

Kind = Literal["text", "whole number", "number", "yes or no", "list", "object", "JSON"]
NO_DEFAULT = inspect.Parameter.empty
# Nobody nests arguments like this; readers of JSON give up somewhere beyond.
DEEPEST = 100

# What JSON has for a type of Python's; any other type isn't judged.
KINDS: dict[Any, Kind] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "yes or no",
    list: "list",
    dict: "object",
}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a task.

    `kind` is what its annotation tells of the JSON to give; `gathers` is "*"
    or "**" for one that takes what is left. `default` is NO_DEFAULT where a
    value must be given.
    """

    name: str
    kind: Kind
    optional: bool
    default: Any
    gathers: Literal["", "*", "**"] = ""
    positional_only: bool = False

    @property
    def needed(self) -> bool:
        """Whether a value must be given."""
        return self.default is NO_DEFAULT and not self.gathers


@cache
def _load() -> None:
    """Import the modules that the app's autodiscovery names; Celery itself does it only in workers."""
    app.loader.import_default_modules()


def own_task_names() -> list[str]:
    """The tasks that can be run from here, by name; Celery's own are not among them."""
    _load()
    return sorted(task.name for task in own_tasks(app))


def is_known(task: str) -> bool:
    """Whether this process knows what `task` takes."""
    _load()
    return task in app.tasks


def documentation(task: str) -> str:
    """What a task says of itself; "" for nothing."""
    return inspect.cleandoc(getattr(app.tasks[task].run, "__doc__", None) or "") if is_known(task) else ""


def route_of(task: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> str:
    """The queue that a job of this task goes to, unless another one is named."""
    _load()
    return routed(task, args, kwargs)


def routed(task: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> str:
    """The same in a process that has loaded all tasks already, as Celery's own do when they start."""
    route = app.amqp.router.route({}, task, tuple(args), dict(kwargs or {}))
    queue = route.get("queue")
    return str(getattr(queue, "name", queue) or app.conf.task_default_queue)


def parameters(task: str) -> list[Parameter]:
    """What a task takes; only for a task that is known."""
    run = app.tasks[task].run
    hints = _hints(run)
    return [
        _parameter(told, hints.get(name, NO_DEFAULT))
        for name, told in inspect.signature(run).parameters.items()
    ]


def _hints(run: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(getattr(run, "__func__", run))
    except (NameError, TypeError, AttributeError):  # names that only a type checker sees
        return {}


def _parameter(told: inspect.Parameter, hint: Any) -> Parameter:
    gathers: dict[Any, Literal["*", "**"]] = {told.VAR_POSITIONAL: "*", told.VAR_KEYWORD: "**"}
    bare, optional = _bare(hint)
    return Parameter(
        told.name,
        KINDS.get(bare, "JSON"),
        optional,
        told.default,
        gathers.get(told.kind, ""),
        told.kind is told.POSITIONAL_ONLY,
    )


def _bare(hint: Any) -> tuple[Any, bool]:
    """The type that an annotation names, without its parts, and whether None will do as well."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        others = [part for part in typing.get_args(hint) if part is not type(None)]
        optional = len(others) < len(typing.get_args(hint))
        return (_bare(others[0])[0] if len(others) == 1 else Any), optional
    return typing.get_origin(hint) or hint, False


def why_unfit(task: str, args: Any, kwargs: Any) -> str:
    """Why a job of this task can't be published with these arguments; "" if it can."""
    if not isinstance(args, list):
        return _("args must be a list.")
    if not isinstance(kwargs, dict) or not all(isinstance(name, str) for name in kwargs):
        return _("kwargs must be an object.")
    if _depth([args, kwargs]) > DEEPEST:
        return _("These are nested too deep.")
    if _holds_a_mark([args, kwargs]):
        return _("A value that was hidden or cut before storage must be replaced by the real one.")
    return _why_not_taken(task, args, kwargs) if is_known(task) else ""


def _depth(value: Any) -> int:
    """How deep lists and objects are nested, as far as DEEPEST."""
    level, depth = [value], 0
    while level and depth <= DEEPEST:
        inner = [list(part.values()) if isinstance(part, dict) else part for part in level]
        level = [one for part in inner if isinstance(part, list) for one in part]
        level = [one for one in level if isinstance(one, list | dict)]
        depth += 1
    return depth


def _holds_a_mark(value: Any) -> bool:
    if isinstance(value, str):
        return HIDDEN in value or CUT in value
    if isinstance(value, dict):
        return any(_holds_a_mark(part) for part in (*value, *value.values()))
    return isinstance(value, list) and any(map(_holds_a_mark, value))


def _why_not_taken(task: str, args: list[Any], kwargs: dict[str, Any]) -> str:
    try:
        bound = inspect.signature(app.tasks[task].run).bind(*args, **kwargs)
    except TypeError as fault:
        return _("%(task)s does not take these: %(fault)s.") % {"task": task, "fault": fault}
    for parameter in parameters(task):
        if parameter.name in bound.arguments and not parameter.gathers:
            value = bound.arguments[parameter.name]
            if not fits(parameter, value):
                names = {"name": parameter.name, "kind": kind_word(parameter.kind)}
                return _("%(name)s must be %(kind)s.") % names
    return ""


def fits(parameter: Parameter, value: Any) -> bool:
    """Whether a value as JSON has it is one that the annotation names; True where none judges it."""
    if value is None:
        return parameter.optional or parameter.default is None or parameter.kind == "JSON"
    if isinstance(value, dict) and "__type__" in value:  # Celery's JSON for a date, a decimal and the like
        return True
    accepted: dict[Kind, tuple[type, ...]] = {
        "text": (str,),
        "whole number": (int,),
        "number": (int, float),
        "yes or no": (bool,),
        "list": (list,),
        "object": (dict,),
        "JSON": (object,),
    }
    right = isinstance(value, accepted[parameter.kind])
    return right and not (isinstance(value, bool) and parameter.kind in ("whole number", "number"))


def kind_word(kind: Kind) -> str:
    """The kind, as a sentence has it."""
    return {
        "text": _("a text"),
        "whole number": _("a whole number"),
        "number": _("a number"),
        "yes or no": _("true or false"),
        "list": _("a list"),
        "object": _("an object"),
        "JSON": _("JSON"),
    }[kind]
