"""Tags of the pages about jobs and schedules, rendered anew by the server on each change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django import template
from django.http import QueryDict

from dashboard import charts, formats
from dashboard.addresses import job_address
from dashboard.json_text import legible
from dashboard.templatetags.nightdesk import epoch
from jobs.values import read_json
from jobs.workflow_reading import whole_of

register = template.Library()

RAN = {"succeeded", "failed"}
STARTED = RAN | {"running", "retrying"}
ENDED = RAN | {"revoked", "rejected"}
# In which states a fact must exist, so that its absence is "?" and not a dash.
APPLIES: dict[str, set[str]] = {
    "started": STARTED,
    "worker": STARTED | {"received"},
    "wait": STARTED,
    "run": RAN,
    "ended": ENDED,
}


@register.simple_tag
def fact(job: Any, name: str, form: str = "text") -> str:
    """A job's (or an attempt's) fact: written, or "?" where it must exist, or a dash where it need not."""
    value, state = _of(job, name), _of(job, "state")
    if value is None:
        return formats.UNKNOWN if state in APPLIES[name] else formats.NOT_APPLICABLE
    return formats.written(epoch(value), form, 0)


def _of(job: Any, name: str) -> Any:
    return job.get(name) if isinstance(job, Mapping) else getattr(job, name)


register.simple_tag(job_address)


@register.simple_tag
def related(task_id: str, jobs: str) -> str:
    """Where the page of a job known by its task id alone is; empty where such an id fits no address."""
    place = formats.job_place(task_id, 0)
    return "" if place == "~0" else f"{jobs}{place}/"


@register.simple_tag
def workflow_of(frame: Mapping[str, Any]) -> str:
    """The id of the workflow that a job is a part of; empty for one that stands alone, or first."""
    whole = whole_of(frame["task_id"], frame["root_id"], frame["group_id"])
    return "" if whole == frame["task_id"] else whole


@register.simple_tag
def query(**named: str | int | None) -> str:
    """A query string of what is known."""
    return urlencode({name: value for name, value in named.items() if value})


@register.simple_tag
def without(asked: QueryDict, name: str) -> str:
    """The query string with one filter dropped, from the first page on."""
    kept = asked.copy()
    for gone in (name, "before", "after"):
        kept.pop(gone, None)
    return kept.urlencode()


@register.filter
def item(data: Any, name: str) -> Any:
    return data.get(name)


@register.simple_tag
def attempts_drawing(frame: dict[str, Any]) -> charts.Gantt | None:
    return charts.gantt(frame["attempts"], frame["at"])


@register.filter
def story(frame: dict[str, Any]) -> str:
    """What the page tells apart from progress: when it changes, job.js asks for the page again."""
    facts = [frame[name] for name in ("state", "verdict", "retries")]
    facts.append((frame["adrift"] or {}).get("next"))
    facts += [len(frame["attempts"]), frame["ended"] is None, frame["worker"], frame["exception"]]
    told = frame["revoking"] and frame["revoking"]["told"] is not None
    return json.dumps(
        [*facts, frame["result"] is None, told, len(frame["retried_as"]), (frame["log"] or {}).get("seq", 0)]
    )


@register.filter
def with_error(attempts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The attempts that ended in an error, the newest first, with their numbers."""
    numbered = [attempt | {"number": number} for number, attempt in enumerate(attempts, 1)]
    return [attempt for attempt in reversed(numbered) if attempt["exception"] or attempt["traceback"]]


@register.filter
def exception_name(exception: str | None) -> str:
    """The type in "KeyError: 'currency'" or "KeyError('currency')"; empty for none."""
    return (exception or "").split("(")[0].split(":")[0].strip()[:60]


@register.filter
def pretty(content: str | None) -> str:
    """JSON laid out over lines; any other text as it is."""
    try:
        return legible(read_json(content or ""), indent=2)
    except ValueError:
        return content or ""


@register.filter
def compact(value: Any) -> str:
    """A value as JSON in one line; empty for None."""
    return "" if value is None else legible(value)


@register.filter
def module(task: str | None) -> str:
    """What stands before the last part of a dotted task name."""
    return (task or "").rpartition(".")[0]


@register.filter
def short_id(task_id: str) -> str:
    """Enough of an id to tell jobs apart in a list."""
    return task_id[:8]
