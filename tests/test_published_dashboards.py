"""What was published for celery-exporter and Flower asks for nothing that we don't expose; nor does ours.

The table holds names and labels as the published files of celery-exporter 0.12.2 (three dashboards, alerts)
and of Flower 2.2.0 (dashboard, alerts) ask for them, less the labels that Prometheus itself gives a target.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs import models
from jobs.metrics import totals
from jobs.metrics.families import text_of
from jobs.metrics.scrape import scrape
from jobs.record import Record
from tests.promql import Asked, asked_by, asked_by_variable
from tests.setups import all_is_well
from tests.stream import entry_of, life_of, raw
from tests.test_scrape_metrics import read

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "metrics"
# Given by Prometheus to whatever it scrapes.
OF_TARGETS = {"cluster", "namespace", "job", "instance"}

PUBLISHED = {
    "celery_queue_length": {"queue_name"},
    "celery_task_failed_total": {"exception", "name", "queue_name"},
    "celery_task_received_total": {"name", "queue_name"},
    "celery_task_rejected_total": {"name", "queue_name"},
    "celery_task_retried_total": {"name", "queue_name"},
    "celery_task_revoked_total": {"name", "queue_name"},
    "celery_task_runtime_bucket": {"le", "name", "queue_name"},
    "celery_task_runtime_count": {"name", "queue_name"},
    "celery_task_runtime_sum": {"name", "queue_name"},
    "celery_task_sent_total": {"name", "queue_name"},
    "celery_task_succeeded_total": {"name", "queue_name"},
    "celery_worker_tasks_active": {"hostname"},
    "celery_worker_up": {"hostname"},
    "flower_events_total": {"task", "type", "worker"},
    "flower_task_prefetch_time_seconds": {"task", "worker"},
    "flower_task_runtime_seconds_bucket": {"le", "task", "worker"},
    "flower_task_runtime_seconds_count": {"task", "worker"},
    "flower_task_runtime_seconds_sum": {"task", "worker"},
    "flower_worker_number_of_currently_executing_tasks": {"worker"},
    "flower_worker_online": {"worker"},
    "flower_worker_prefetched_tasks": {"task", "worker"},
}
# What celery-exporter has beside them.
DOCUMENTED = {
    "celery_task_started_total": {"hostname", "name", "queue_name"},
    "celery_task_queue_wait_time_bucket": {"hostname", "le", "name", "queue_name"},
    "celery_active_consumer_count": {"queue_name"},
    "celery_active_worker_count": {"queue_name"},
    "celery_active_process_count": {"queue_name"},
}
# Flower's dashboard counts these; its rules divide by them.
TYPES = {"task-sent", "task-received", "task-started", "task-succeeded", "task-failed", "task-retried",
         "task-revoked", "task-rejected"}  # fmt: skip


@pytest.fixture
def exposed(db: None) -> dict[str, set[str]]:
    """Every name with its labels, where something of everything has happened."""
    labels: dict[str, set[str]] = defaultdict(set)
    for name, at in samples():
        labels[name] |= {label for label, _ in at}
    return labels


def samples() -> Iterator[tuple[str, frozenset[tuple[str, str]]]]:
    now = datetime.now(UTC)
    all_is_well(now + timedelta(minutes=5))
    events = [*life_of("a"), *life_of("b", end="task-failed"), raw("task-received", "c", name="t", queue="q")]
    record = Record("nightdesk:events")
    record.commit([entry_of(events)])
    record.commit([entry_of([raw("task-sent", "d"), '{"no": "kind"}'], first_seq=99)])
    models.Worker.objects.create(
        producer="w", name="w1@host", seen_at=now + timedelta(minutes=5), slots=4, busy=1
    )
    moment = now + timedelta(minutes=5)
    models.QueueSample.objects.create(queue="high", at=moment, depth=1, oldest_at=now)
    totals.add(totals.TICKS, {"fired": 1, "missed": 1})
    families = scrape(models.Cluster.DEFAULT_ID, moment)
    yield from read(text_of(families, openmetrics=True), in_openmetrics=True)


def unanswered(asked: Asked, exposed: dict[str, set[str]]) -> list[str]:
    """What an expression asks for in vain."""
    known = set().union(*(exposed.get(name, set()) for name in asked.series))
    faults = [name for name in asked.series if name not in exposed]
    faults += [
        f"{name}{{{label}}}"
        for name, labels in asked.series.items()
        for label in labels - exposed.get(name, set()) - OF_TARGETS
    ]
    return faults + [f"by {label}" for label in asked.grouped - known - OF_TARGETS]


@pytest.mark.parametrize("name", [*PUBLISHED, *DOCUMENTED])
def test_what_is_published_asks_for_nothing_in_vain(exposed: dict[str, set[str]], name: str) -> None:
    assert ({**PUBLISHED, **DOCUMENTED})[name] <= exposed[name]


def test_every_type_of_flower_is_counted(db: None) -> None:
    found = {dict(at)["type"] for name, at in samples() if name == "flower_events_total"}
    assert found == TYPES


def test_no_label_is_called_none(db: None) -> None:
    """The published rules leave out what is called so."""
    assert not [(name, at) for name, at in samples() if "None" in dict(at).values()]


# Ours


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
    return found


def test_our_rules_ask_for_nothing_in_vain(exposed: dict[str, set[str]]) -> None:
    assert len(rules()) >= 12
    for rule in rules():
        asked = asked_by(rule["expr"])
        assert asked.series
        assert unanswered(asked, exposed) == [], rule["alert"]


def test_our_rules_say_what_to_do() -> None:
    for rule in rules():
        assert rule["annotations"].keys() == {"summary", "description"}
        assert rule["labels"]["severity"] in ("critical", "warning")


def test_our_dashboard_asks_for_nothing_in_vain(exposed: dict[str, set[str]]) -> None:
    expressions = [target["expr"] for panel in panels() for target in panel["targets"]]
    assert len(expressions) >= 12
    for expression in expressions:
        assert unanswered(asked_by(expression), exposed) == [], expression
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            asked = asked_by_variable(variable["query"]["query"])
            assert asked.series
            assert unanswered(asked, exposed) == [], variable["name"]


def test_panels_of_our_dashboard_stand_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in dashboard()["panels"]}) == len(dashboard()["panels"])


def test_every_family_is_described(exposed: dict[str, set[str]]) -> None:
    page = (FOLDER.parent / "metrics.md").read_text()
    families = {family.name for family in scrape(models.Cluster.DEFAULT_ID, datetime.now(UTC))}
    assert len(families) > 35
    assert not {name for name in families if f"`{name}" not in page}


@pytest.mark.parametrize(
    ("expression", "series", "grouped"),
    [
        ("a", {"a": set()}, set()),
        (
            'sum by (x, y) (rate(a{l="b{c}", m!~"n"}[5m])) / on (z) b',
            {"a": {"l", "m"}, "b": set()},
            {"x", "y", "z"},
        ),
        (
            "histogram_quantile(0.95, sum(rate(a_bucket[$__rate_interval])) by (le))",
            {"a_bucket": set()},
            {"le"},
        ),
        ('avg by (t) (a{w=~"$w"}) > bool 1e3 or vector(0)', {"a": {"w"}}, {"t"}),
        ("a offset 5m unless on () b == inf", {"a": set(), "b": set()}, set()),
        ("topk(5, (sum by(name) (a)) > 0 )", {"a": set()}, {"name"}),
    ],
)
def test_an_expression_is_read_for_what_it_asks(
    expression: str, series: dict[str, set[str]], grouped: set[str]
) -> None:
    asked = asked_by(expression)
    assert (asked.series, asked.grouped) == (series, grouped)
