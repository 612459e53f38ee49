"""What programs may ask for: the parameters of the API's lists, each with its bounds."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Annotated

from django.http import HttpRequest
from ninja import Field, Schema
from pydantic import AfterValidator

from dashboard.api.problems import Problem, missing
from dashboard.command_fields import in_bounds
from jobs.models import Bucket, Cluster, State
from jobs.models.dead import Death, Settled
from jobs.models.people import Outcome

LAST_ID = 2**63 - 1
NO_NUL = r"^[^\x00]*$"
CURSOR = r"^[1-9][0-9]{0,17}$"

Name = Annotated[str, Field(min_length=1, max_length=255, pattern=NO_NUL)]
Word = Annotated[str, Field(min_length=1, max_length=40, pattern=NO_NUL)]
Moment = Annotated[datetime, AfterValidator(in_bounds)]
Cursor = Annotated[str, Field(pattern=CURSOR, description="`next` of the page before.")]
ClusterName = Annotated[
    str, Field(max_length=64, pattern=NO_NUL, description="Which cluster; else the default one.")
]


class OfCluster(Schema):
    """Which cluster is asked about."""

    cluster: ClusterName | None = None

    def cluster_id(self) -> int:
        """Raises Problem where there is no such cluster."""
        if self.cluster is None:
            return Cluster.DEFAULT_ID
        found = Cluster.objects.filter(name=self.cluster).values_list("pk", flat=True).first()
        if found is None:
            raise missing("There is no such cluster.")
        return found


class JobsAsked(OfCluster):
    """Which jobs: all that is given must hold; published from `since` to before `until`."""

    state: State | None = None
    task: Name | None = None
    queue: Name | None = None
    error: Annotated[int, Field(ge=1, le=LAST_ID, description="The number of an error.")] | None = None
    since: Moment | None = None
    until: Moment | None = None
    cursor: Cursor | None = None


class Shown(StrEnum):
    """Which errors: those that are unresolved or regressed, or others."""

    OPEN = "open"
    IGNORED = "ignored"
    RESOLVED = "resolved"
    ALL = "all"


class ErrorsAsked(OfCluster):
    """Which errors: all that is given must hold. Without `show`, those that are open."""

    show: Shown | None = None
    task: Name | None = None
    assignee: Name | None = None
    cursor: (
        Annotated[str, Field(pattern=r"^[0-9]{1,16}\.[0-9]{1,18}$", description="`next` of the page before.")]
        | None
    ) = None


class Dealt(StrEnum):
    """What somebody, or the job itself, has made of a dead letter."""

    REQUEUED = Settled.REQUEUED.value
    DISCARDED = Settled.DISCARDED.value
    REVIVED = Settled.REVIVED.value


class DeadLettersAsked(OfCluster):
    """Which dead letters: all that is given must hold. Without `settled`, those that wait."""

    why: Death | None = None
    task: Name | None = None
    queue: Name | None = None
    settled: Dealt | None = None
    cursor: Cursor | None = None


class PageAsked(Schema):
    """Where a page begins."""

    cursor: Cursor | None = None


class ActionsAsked(PageAsked):
    """Which actions: all that is given must hold; from `since` to before `until`."""

    who: Annotated[str, Field(min_length=1, max_length=150, pattern=NO_NUL)] | None = None
    command: Word | None = None
    kind: Word | None = None
    target: Name | None = None
    outcome: Outcome | None = None
    via: Word | None = None
    since: Moment | None = None
    until: Moment | None = None


class Step(IntEnum):
    """A width of buckets, in seconds."""

    MINUTE = Bucket.MINUTE
    HOUR = Bucket.HOUR
    DAY = Bucket.DAY


class StatsAsked(OfCluster):
    """Which span: `since` and `until` are widened to whole steps; without them, the last hour. A `step` is
    60, 3600 or 86400 seconds, else as fits the span."""

    since: Moment | None = None
    until: Moment | None = None
    step: Step | None = None
    task: Name | None = None
    queue: Name | None = None


def only_known(request: HttpRequest, asked: type[Schema]) -> None:
    """Refuse parameters that are not there, since a misspelt filter would give everything."""
    if unknown := sorted(set(request.GET) - set(asked.model_fields)):
        where = f"query.{unknown[0]}"
        raise Problem(
            422,
            "invalid",
            "The request is not as it should be.",
            errors=[{"where": where, "what": "There is no such parameter."}],
        )
