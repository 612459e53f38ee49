"""/metrics: who may scrape it, in which formats, and what each gauge says."""

from __future__ import annotations

import gzip
import signal
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from prometheus_client import openmetrics, parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from dashboard.environment import networks
from jobs import models
from jobs.metrics.families import COUNTER, GAUGE, HISTOGRAM, Family, bounds_of, text_of
from jobs.metrics.look import look
from jobs.metrics.scrape import SETS, scrape
from jobs.queues import QueuePolicy
from jobs.record import Record
from tests import tasks
from tests.api import account, token_of
from tests.harness import Installation, Process, eventually
from tests.setups import a_monitor, all_is_well, beat
from tests.stream import entry_of, life_of
from tests.working import worker

pytestmark = pytest.mark.django_db
CLUSTER = models.Cluster.DEFAULT_ID
AWKWARD = 'a "task"\\\n{é=1}, \u202e😀'
Sample = tuple[str, frozenset[tuple[str, str]]]


def test_both_of_prometheus_own_parsers_read_both_formats() -> None:
    families = [
        Family("done", COUNTER, "How many."),
        Family("depth", GAUGE, "How deep."),
        Family("took", HISTOGRAM, "How long."),
        Family("nothing", GAUGE, "Left out."),
    ]
    labels = [("task", AWKWARD), ("queue", "")]
    families[0].add(labels, 2**60)
    families[1].add((), 0.1)
    for of in (labels, [("task", "b"), ("queue", "q")]):
        families[2].add_histogram(of, bounds_of([0.5, 1]), [7.25, 1, 2, 3])
    expected = {
        ("done_total", frozenset(labels)): 2.0**60,
        ("depth", frozenset[tuple[str, str]]()): 0.1,
    }
    for bound, seen in (("0.5", 1), ("1.0", 3), ("+Inf", 6)):
        for of in (labels, [("task", "b"), ("queue", "q")]):
            expected[("took_bucket", frozenset([*of, ("le", bound)]))] = seen
            expected[("took_count", frozenset(of))] = 6
            expected[("took_sum", frozenset(of))] = 7.25
    assert read(text_of(families, openmetrics=False), in_openmetrics=False) == expected
    assert read(text_of(families, openmetrics=True), in_openmetrics=True) == expected


def read(text: bytes, *, in_openmetrics: bool) -> dict[Sample, float]:
    read_all = (openmetrics_parser if in_openmetrics else parser).text_string_to_metric_families
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in read_all(text.decode())
        for sample in family.samples
    }


def scraped(now: datetime, *sets: str) -> dict[Sample, float]:
    return read(text_of(scrape(CLUSTER, now, sets or SETS), openmetrics=True), in_openmetrics=True)


def of(samples: Mapping[Sample, float], name: str, *labels: str) -> dict[Any, float]:
    """The samples of a name, by the values of these labels."""
    found = {
        tuple(dict(at)[one] for one in labels): value
        for (known, at), value in samples.items()
        if known == name
    }
    return {key[0] if len(key) == 1 else key: value for key, value in found.items()}


def a_worker(now: datetime, producer: str, **facts: Any) -> models.Worker:
    return models.Worker.objects.create(producer=producer, **{"name": producer, "seen_at": now, **facts})


@pytest.fixture
def now() -> datetime:
    return timezone.now()


# Who may


def test_nobody_scrapes_by_default(client: Client) -> None:
    answer = client.get("/metrics")
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, 'Bearer realm="nightdesk"')


def test_a_token_for_metrics_alone_reads_them_and_nothing_else(client: Client) -> None:
    secret, _ = token_of(account("prometheus", "viewer"), "view_metrics")
    bearer = {"Authorization": f"Bearer {secret}"}
    assert client.get("/metrics", headers=bearer).status_code == 200
    assert client.get("/api/v1/jobs", headers=bearer).status_code == 403


@pytest.mark.parametrize("fault", ["another", "expired", "narrow", "no permission"])
def test_any_other_token_is_refused(client: Client, now: datetime, fault: str) -> None:
    owner = account("prometheus", "viewer")
    facts = {"expires_at": now} if fault == "expired" else {}
    secret, _ = token_of(owner, "view_record" if fault == "no permission" else "view_metrics", **facts)
    if fault == "narrow":
        models.Reach.objects.create(user=owner, queues="high")
    answer = client.get(
        "/metrics", headers={"Authorization": f"Bearer {'nd_x' if fault == 'another' else secret}"}
    )
    assert answer.status_code == (403 if fault in ("narrow", "no permission") else 401)
    assert b"celery" not in answer.content


def test_addresses_of_the_list_need_no_token(client: Client, settings: LazySettings) -> None:
    settings.METRICS_ALLOW = networks("METRICS_ALLOW", ["10.0.0.0/8", "fd00::1"])
    expected = {
        "10.1.2.3": 200,
        "::ffff:10.1.2.3": 200,
        "fd00::1": 200,
        "11.0.0.1": 401,
        "": 401,
        "unix:": 401,
    }
    assert {
        address: client.get("/metrics", REMOTE_ADDR=address).status_code for address in expected
    } == expected


def test_a_forwarded_address_opens_nothing(client: Client, settings: LazySettings) -> None:
    settings.METRICS_ALLOW = networks("METRICS_ALLOW", ["10.0.0.0/8"])
    answer = client.get("/metrics", headers={"X-Forwarded-For": "10.0.0.1"}, REMOTE_ADDR="192.0.2.1")
    assert answer.status_code == 401


def test_somebody_signed_in_may_look(visitor: Client) -> None:
    assert visitor.get("/metrics").status_code == 200


# In which form


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain"),
        ("*/*", "text/plain"),
        ("text/html,*/*;q=0.8", "text/plain"),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "application/openmetrics-text"),
    ],
)
def test_the_format_is_the_one_that_is_accepted(visitor: Client, accept: str, kind: str) -> None:
    Record("test").commit([entry_of(life_of("a"))])
    answer = visitor.get("/metrics", headers={"Accept": accept})
    assert answer["Content-Type"].startswith(kind)
    found = read(answer.content, in_openmetrics=kind != "text/plain")
    assert {"celery_task_succeeded_total", "flower_events_total", "nightdesk_record_trusted"} <= {
        name for name, _ in found
    }


def test_a_scrape_is_packed_where_that_is_accepted(visitor: Client) -> None:
    answer = visitor.get("/metrics", headers={"Accept-Encoding": "gzip"})
    assert answer["Content-Encoding"] == "gzip"
    assert b"nightdesk_record_trusted" in gzip.decompress(answer.content)


def test_one_may_ask_for_some_sets_alone(visitor: Client) -> None:
    text = visitor.get("/metrics?set=celery&set=flower").content.decode()
    assert "nightdesk_" not in text
    assert visitor.get("/metrics?set=python").status_code == 422


# What the gauges say


def test_a_dead_worker_is_0_for_a_day_and_one_that_stopped_is_not(now: datetime) -> None:
    dead = now - timedelta(hours=23)
    a_monitor(now)
    a_worker(now, "w@alive", busy=3)
    a_worker(now, "w@dead", busy=2, seen_at=dead)
    a_worker(now, "w@gone", seen_at=dead - timedelta(hours=2))
    a_worker(
        now, "w@stopped", busy=2, offline_at=now - timedelta(minutes=5), seen_at=now - timedelta(minutes=5)
    )
    a_worker(now, "w@stopped long ago", offline_at=now - timedelta(hours=1), seen_at=now - timedelta(hours=1))
    found = scraped(now)
    assert of(found, "celery_worker_up", "hostname") == {"alive": 1, "dead": 0, "stopped": 0}
    assert of(found, "celery_worker_tasks_active", "hostname") == {"alive": 3, "dead": 0, "stopped": 0}
    assert of(found, "flower_worker_online", "worker") == {"w@alive": 1, "w@dead": 0, "w@stopped": 0}
    running = of(found, "flower_worker_number_of_currently_executing_tasks", "worker")
    assert running == {"w@alive": 3, "w@dead": 0, "w@stopped": 0}
    assert of(found, "nightdesk_worker_up", "worker") == {"w@alive": 1, "w@dead": 0}
    assert of(found, "nightdesk_workers", "state") == {"online": 1, "late": 0, "dead": 1}


def test_a_worker_that_came_back_is_up(now: datetime) -> None:
    a_monitor(now)
    a_worker(now, "w@h", seen_at=now - timedelta(minutes=9))
    a_worker(now, "again", name="w@h")
    assert of(scraped(now), "celery_worker_up", "hostname") == {"h": 1}


def test_a_host_is_down_while_one_of_its_workers_is_dead(now: datetime) -> None:
    a_monitor(now)
    a_worker(now, "high@h", busy=1)
    a_worker(now, "low@h", seen_at=now - timedelta(minutes=9))
    found = scraped(now)
    assert of(found, "celery_worker_up", "hostname") == {"h": 0}
    assert of(found, "celery_worker_tasks_active", "hostname") == {"h": 1}


def test_a_blind_monitor_makes_no_worker_dead(now: datetime) -> None:
    an_hour_ago = now - timedelta(hours=1)
    a_monitor(an_hour_ago)
    a_worker(now, "w@h", seen_at=an_hour_ago)
    found = scraped(now)
    assert of(found, "celery_worker_up", "hostname") == {"h": 1}
    assert of(found, "nightdesk_process_up", "process") == {"monitor": 0}
    assert found[("nightdesk_record_trusted", frozenset())] == 0


def test_queues_tell_depth_age_workers_and_slots(now: datetime, settings: LazySettings) -> None:
    settings.QUEUES = {"high": QueuePolicy("high", 10.0, 4)}
    a_monitor(now)
    a_worker(now, "w@h", queues="high,low", slots=4)
    a_worker(now, "v@h", queues="high", slots=2)
    samples = (
        ("high", 7, 40.0),
        ("low", 0, None),
        ("unstamped", 3, None),
        ("nobody", 1, 5.0),
        ("?", None, None),
    )
    for queue, depth, age in samples:
        oldest = None if age is None else now - timedelta(seconds=age)
        models.QueueSample.objects.create(queue=queue, at=now, depth=depth, oldest_at=oldest)
    models.QueueSample.objects.create(queue="high", at=now - timedelta(seconds=5), depth=900)
    models.QueueSample.objects.create(queue="stale", at=now - timedelta(seconds=60), depth=1)
    models.Pause.objects.create(queue="low", who="bo", since=now)
    found = scraped(now)
    assert of(found, "celery_queue_length", "queue_name") == {
        "high": 7,
        "low": 0,
        "unstamped": 3,
        "nobody": 1,
    }
    counted = {"high": 2, "low": 1, "unstamped": 0, "nobody": 0, "?": 0}
    assert of(found, "celery_active_worker_count", "queue_name") == counted
    assert of(found, "celery_active_consumer_count", "queue_name") == counted
    slots = {**counted, "high": 6, "low": 4}
    assert of(found, "celery_active_process_count", "queue_name") == slots
    assert of(found, "nightdesk_queue_oldest_age_seconds", "queue") == {"high": 40, "low": 0, "nobody": 5}
    assert of(found, "nightdesk_queue_target_seconds", "queue") == {"high": 10}
    assert of(found, "nightdesk_queue_paused", "queue")["low"] == 1


def test_beyond_so_many_queues_the_shallow_ones_are_other(now: datetime) -> None:
    rows = [models.QueueSample(queue=f"q{n}", at=now, depth=n) for n in range(510)]
    models.QueueSample.objects.bulk_create(rows)
    found = of(scraped(now), "celery_queue_length", "queue_name")
    assert (len(found), found["other"], found["q509"]) == (501, sum(range(10)), 509)


def test_jobs_that_wait_in_a_worker_are_counted(now: datetime) -> None:
    for number, state in enumerate(["received", "received", "running", "queued"]):
        job = models.Job.objects.create(task_id=str(number), task="t", state=state, seen_at=now, worker="w@h")
        models.Standing.objects.create(job=job, state=state, task="t")
    assert of(scraped(now), "flower_worker_prefetched_tasks", "worker", "task") == {("w@h", "t"): 2}


def test_where_jobs_have_waited_before_none_is_0_while_the_worker_is_there(now: datetime) -> None:
    Record("test").commit([entry_of(life_of("a"))])
    row = models.Series.objects.get(axis="worker", place="w1@host")
    name = "flower_worker_prefetched_tasks"
    assert of(scraped(now), name, "worker", "task") == {}
    a_monitor(now)
    a_worker(now, "w1@host")
    assert of(scraped(now), name, "worker", "task") == {("w1@host", row.task): 0}
    job = models.Job.objects.create(task_id="b", task="t", state="received", seen_at=now, worker="w1@host")
    models.Standing.objects.create(job=job, state="received", task="t")
    assert of(scraped(now), name, "worker", "task") == {("w1@host", row.task): 0, ("w1@host", "t"): 1}


def test_many_that_wait_in_workers_are_bounded(now: datetime, settings: LazySettings) -> None:
    settings.METRICS_LABEL_SETS = 2
    for number in range(6):
        job = models.Job.objects.create(
            task_id=str(number), task=f"t{number % 4}", state="received", seen_at=now, worker="w@h"
        )
        models.Standing.objects.create(job=job, state="received", task=job.task)
    assert of(scraped(now), "flower_worker_prefetched_tasks", "task") == {"t0": 2, "t1": 2, "other": 2}


def test_the_outbox_tells_how_many_wait_and_how_long(now: datetime) -> None:
    assert of(scraped(now), "nightdesk_outbox_waiting") == {(): 0}
    facts = {"task": "t", "queue": "q", "body": "", "created_at": now}
    for number, seconds in enumerate([30, 10, -60]):
        due = now - timedelta(seconds=seconds)
        models.Outgoing.objects.create(task_id=str(number), due_at=due, **facts)
    in_hand = now + timedelta(seconds=9)
    models.Outgoing.objects.create(task_id="in hand", due_at=now, claimed_until=in_hand, **facts)
    found = scraped(now)
    assert of(found, "nightdesk_outbox_waiting") == {(): 2}
    assert of(found, "nightdesk_outbox_oldest_age_seconds") == {(): 30}


def test_processes_broker_and_stream_tell_how_they_are(now: datetime) -> None:
    all_is_well(now)
    beat("beat", now - timedelta(seconds=40))
    beat("alerts", now)
    beat("deadman", now - timedelta(seconds=40))  # which comes once a minute
    found = scraped(now)
    expected = {"monitor": 1, "broker": 1, "beat": 0, "alerts": 1}
    assert of(found, "nightdesk_process_up", "process") == expected
    assert of(found, "nightdesk_process_silence_seconds", "process")["beat"] == 40
    assert of(found, "nightdesk_broker_up") == {(): 1}
    assert of(found, "nightdesk_stream_entries") == {(): 210}
    assert of(found, "nightdesk_stream_entries_limit") == {(): 500_000}
    assert of(found, "nightdesk_stream_lag_seconds") == {(): 0.1}


def test_what_is_not_known_is_absent(now: datetime) -> None:
    names = {name for name, _ in scraped(now)}
    unknown = ("stream_lag_seconds", "stream_entries", "broker_up", "last_event_age_seconds", "ticks_total")
    assert not names & {f"nightdesk_{name}" for name in unknown}
    assert "nightdesk_events_lost_total" in names, "nothing was lost: that is known"


def test_the_time_in_a_worker_before_the_start_is_shown_for_a_minute(now: datetime) -> None:
    Record("test").commit([entry_of(life_of("a"))])
    row = models.Series.objects.get(axis="worker", place="w1@host")
    assert '"prefetch":[' in row.measures
    started = float(row.measures.partition('"prefetch":[')[2].partition("]")[0].split(",")[1])
    name = "flower_task_prefetch_time_seconds"
    for seconds, expected in ((30, pytest.approx(0.1)), (90, 0)):
        moment = datetime.fromtimestamp(started + seconds, now.tzinfo)
        assert of(scraped(moment, "flower"), name, "worker") == {"w1@host": expected}


def test_a_scrape_costs_the_same_number_of_statements_whatever_there_is(
    now: datetime, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(10):
        look(CLUSTER, now)
    all_is_well(now)
    Record("test").commit([entry_of(life_of(f"j{n}"), f"p{n}") for n in range(5)])
    for n in range(5):
        a_worker(now, f"w{n}@h{n}")
    with django_assert_num_queries(10):
        look(CLUSTER, now)


def test_a_scrape_takes_nothing_but_the_database(
    ops: User, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker or worker that hangs must not be able to."""
    import socket

    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("somebody was asked"))
    client.force_login(ops)
    assert client.get("/metrics").status_code == 200


def test_the_formats_are_those_of_the_library() -> None:
    from prometheus_client import CONTENT_TYPE_LATEST

    from dashboard.views.metrics import OPENMETRICS

    assert openmetrics.exposition.CONTENT_TYPE_LATEST.startswith("application/openmetrics-text; version=1")
    assert OPENMETRICS == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert CONTENT_TYPE_LATEST.startswith("text/plain")


# With real processes


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_killed_worker_goes_to_0_and_what_it_did_stays_counted(
    installation: Installation, monitor: Process, published_from_here: None
) -> None:
    for priority in (0, 5, 9):
        tasks.add.apply_async((1, 1), priority=priority)
    eventually(lambda: gauge("celery_queue_length", "queue_name").get("default") == 3, 30)
    assert counted("celery_task_sent_total") == 3
    process = worker(installation)
    eventually(lambda: counted("celery_task_succeeded_total") == 3, 30)
    eventually(lambda: gauge("celery_queue_length", "queue_name").get("default") == 0, 30)
    assert gauge("celery_active_worker_count", "queue_name")["default"] == 1
    up = gauge("celery_worker_up", "hostname")
    assert list(up.values()) == [1]
    process.send(signal.SIGKILL)
    eventually(lambda: gauge("celery_worker_up", "hostname") == dict.fromkeys(up, 0), 60)
    assert gauge("celery_active_worker_count", "queue_name")["default"] == 0
    monitor.send(signal.SIGKILL)
    again = installation.monitor()
    tasks.add.delay(1, 1)
    eventually(lambda: counted("celery_task_sent_total") == 4, 30, again.text)
    assert counted("celery_task_succeeded_total") == 3


def gauge(name: str, label: str) -> dict[Any, float]:
    return of(scraped(timezone.now(), "celery"), name, label)


def counted(name: str) -> float:
    """Once it is no longer new."""
    found = scraped(timezone.now() + timedelta(minutes=5), "celery")
    return sum(value for (known, _), value in found.items() if known == name)
