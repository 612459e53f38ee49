"""Commands as programs fill them in: the fields of a command, made into a form that checks them.

API and command line are generated from the registry, so that a new command is in both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from functools import reduce
from operator import or_
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from django.utils.translation import gettext as _
from ninja import Schema
from pydantic import ConfigDict, Field, create_model

from jobs.models import Cluster
from jobs.perform import LONGEST_REASON, Command, Refused
from jobs.stats import EARLIEST, LATEST
from jobs.values import in_utc
from workers import commands as _commands  # noqa: F401 - importing them fills the registry

NO_NUL = r"^[^\x00]*$"
LONGEST_TEXT = 255
# What JSON's readers everywhere keep exactly.
LARGEST = 2**53 - 1
BOUNDS: dict[Any, Any] = {
    str: Field(max_length=LONGEST_TEXT, pattern=NO_NUL),
    int: Field(ge=-LARGEST, le=LARGEST),
    float: Field(ge=-1e15, le=1e15, allow_inf_nan=False),
}
REASON = Field(default="", max_length=LONGEST_REASON, pattern=NO_NUL, description="Why; the audit keeps it.")


class Form(Schema):
    """The fields of a command: nothing else is taken."""

    model_config = ConfigDict(extra="forbid")


def form_of(command: type[Command]) -> type[Form]:
    """The fields of a command, and `reason`."""
    hints = get_type_hints(command)
    fields: dict[str, Any] = {
        field.name: (_bounded(hints[field.name]), _default_of(field)) for field in fields_of(command)
    }
    fields.setdefault("reason", (str, REASON))
    name = "".join(part.title() for part in command.name.replace("-", ".").split("."))
    made: type[Form] = create_model(
        name, __base__=Form, __doc__=command.__doc__, __module__=__name__, **fields
    )
    return made


def fields_of(command: type[Command]) -> tuple[dataclasses.Field[Any], ...]:
    """The arguments of a command in their order."""
    return dataclasses.fields(command)  # type: ignore[arg-type]


def _default_of(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return Field(default_factory=field.default_factory)
    return ...


def _bounded(hint: Any) -> Any:
    """The same type with bounds on the texts and numbers in it."""
    if hint in BOUNDS:
        return Annotated[hint, BOUNDS[hint]]
    parts = get_args(hint)
    if not parts:
        return hint
    bounded = tuple(_bounded(part) for part in parts)
    if get_origin(hint) in (UnionType, Union):
        return reduce(or_, bounded)
    return get_origin(hint)[bounded]


def in_bounds(moment: datetime) -> datetime:
    """The nearest moment that figures and records may have; without a zone it is meant in UTC."""
    return min(max(in_utc(moment), EARLIEST), LATEST)


def command_from(command: type[Command], values: Mapping[str, Any]) -> Command:
    """The command that these checked values make. Raises Refused for a cluster that is not there, and for a
    moment that other zones, or sums with it, could not express."""
    cluster = values.get("cluster_id")
    if cluster is not None and not Cluster.objects.filter(pk=cluster).exists():
        raise Refused("missing", _("There is no such cluster."))
    given = {field.name: values[field.name] for field in fields_of(command)}
    if any(isinstance(value, datetime) and in_bounds(value) != value for value in given.values()):
        raise Refused("moment", _("A moment must be in the years from 2000 to 2099."))
    return command(**given)
