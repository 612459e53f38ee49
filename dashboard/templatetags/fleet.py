"""Tags of the pages of queues and workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import template
from django.urls import reverse

from dashboard.addresses import READABLE
from dashboard.wait_chart import WaitChart, wait_chart

register = template.Library()


@register.simple_tag
def worker_place(row: Mapping[str, Any]) -> str:
    """Where the page of a worker is: by name where that is readable, else by number."""
    if READABLE.fullmatch(row["name"]):
        return reverse("worker", args=[row["name"]])
    return reverse("worker-by-number", args=[row["id"]])


@register.simple_tag
def wait_drawing(frame: Mapping[str, Any]) -> WaitChart | None:
    """The chart of a queue's waits."""
    trends = frame["trends"]
    return wait_chart(trends["wait"], trends["oldest"], frame["target"], frame["at"])


@register.filter
def node(name: str) -> str:
    """What stands before the host in a worker's name."""
    return name.partition("@")[0] or name


@register.filter
def host(name: str) -> str:
    """The host in a worker's name; empty where it tells none."""
    return name.partition("@")[2]
