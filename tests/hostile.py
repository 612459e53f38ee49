"""What somebody may put wherever a job, a process or a person can put text."""

from __future__ import annotations

import itertools
from html.parser import HTMLParser
from typing import Any

from django.db import models as fields

from jobs import models
from jobs.values import EXCEPTION_LENGTH, TEXT_LENGTH, name, storable_json, text

MARKUP = (
    "<script>window.ran=1</script>",
    '"><img src=x onerror="window.ran=1">',
    "' hx-on::load='window.ran=1' x='",
    "</script></title></textarea><svg onload=window.ran=1>",
    "javascript:window.ran=1",
    "{{7*7}}{% now 'Y' %}",
)
TURNED = "\u202egnp.exe\u2066\x1b[31m\r\n[CRITICAL] fake"
# All of it at once, and short enough for a name.
EVERYTHING = f"{TURNED}{''.join(MARKUP)}"
DEEP = "[" * 10_000 + "]" * 10_000
LINES = '  File "shop.py", line 1, in pay\n' * 1_000_000
LARGE = "x" * 20_000_000

# Where texts stand that others than Nightdesk choose: kind of row, fields.
CARRIED: dict[type[fields.Model], tuple[str, ...]] = {
    models.Job: (
        "task", "queue", "worker", "exception", "schedule", "origin", "release", "group_id", "root_id",
    ),
    models.Standing: ("task", "queue"),
    models.Attempt: ("worker", "exception", "traceback"),
    models.Payload: ("args", "kwargs", "result", "progress", "body"),
    models.Bucket: ("task",),
    models.Worker: ("name", "queues", "version", "release", "held"),
    models.QueueSample: ("queue",),
    models.DeadLetter: ("task", "queue", "exception", "headers", "raw", "shown", "content_type"),
    models.Alert: ("task", "queue", "summary", "note", "acknowledged_by", "silenced_by"),
    models.Rule: ("name", "note"),
    models.Channel: ("name", "shown", "last_error"),
    models.Trigger: ("name", "task", "note", "condition", "fields"),
    models.Action: ("who", "target", "task", "queue", "reason", "arguments", "before", "detail"),
    models.Quarantine: ("sample",),
    models.Gap: ("source", "reason"),
    models.Heartbeat: ("host",),
    models.BulkItem: ("detail",),
    models.Bulk: ("who", "reason", "detail"),
}  # fmt: skip
# JSON that Nightdesk itself has made of what people said.
OWN_JSON = {"arguments", "before"}


def fill_everywhere(*texts: str, long_texts_only: bool = False) -> None:
    """Put them, in turn, wherever texts are carried, cut as the record cuts them; names end in a number."""
    turns = itertools.cycle(texts)
    for model, names in CARRIED.items():
        for row in model._default_manager.all():
            values = {
                field: _fitting(model._meta.get_field(field), next(turns), str(row.pk))
                for field in names
                if not long_texts_only or isinstance(model._meta.get_field(field), fields.TextField)
            }
            # Not through the row: what is append-only, or says more when it is saved, is not asked.
            fields.QuerySet(model).filter(pk=row.pk).update(**values)


def _fitting(field: Any, hostile: str, number: str) -> str:
    if field.name in OWN_JSON:
        return storable_json({"task_id": text(hostile, EXCEPTION_LENGTH)})
    if isinstance(field, fields.TextField):
        return text(hostile, TEXT_LENGTH) or ""
    return (name(hostile, min(field.max_length, EXCEPTION_LENGTH) - len(number)) or "") + number


class _Danger(HTMLParser):
    """Collects what would run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        data = given.get("type") in ("application/json", "speculationrules")
        if tag in ("img", "iframe", "object", "embed", "style") or (
            tag == "script" and not given.get("src") and not data
        ):
            self.found.append(f"<{tag}>")
        self.found += [f"<{tag} {name}>" for name in given if name.startswith(("on", "hx-on"))]
        links = [given.get(name) or "" for name in ("href", "action", "src", "hx-get", "hx-post")]
        self.found += [link for link in links if link.strip().lower().startswith("javascript:")]


def dangers(page: str) -> list[str]:
    """What in a page would run, were the policy not there."""
    parser = _Danger()
    parser.feed(page)
    return parser.found
