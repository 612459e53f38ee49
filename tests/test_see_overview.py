"""The frame of the overview, from the database alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from jobs import alert_frame, live, worker_frame
from jobs.history import Memory
from jobs.models import (
    Alert,
    Bucket,
    Cluster,
    Gap,
    Heartbeat,
    Job,
    Position,
    Quarantine,
    QueueSample,
    Rule,
    Standing,
    Worker,
    WorkerSample,
)
from jobs.rollups import Sketches
from jobs.scopes import EVERYTHING

NOW = datetime(2026, 11, 21, 3, 2, 30, tzinfo=UTC)
MINUTE = int(NOW.timestamp()) // 60

pytestmark = pytest.mark.django_db
Statements = Callable[[int], Any]


def frame(now: datetime = NOW, memory: Memory | None = None) -> dict[str, Any]:
    return live.overview(Cluster.DEFAULT_ID, "all", now, memory)


def worker_states() -> list[str]:
    return [row["state"] for row in worker_frame.workers(Cluster.DEFAULT_ID, "all", NOW)["workers"]]


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def bucket(
    minutes_ago: int, *totals: float, failed: int = 0, queue: str = "high", task: str = "t", **more: int
) -> None:
    """What the monitor writes: a minute, and the hour it is in; a total for each job that succeeded."""
    sketches = Sketches()
    for seconds in totals:
        sketches.at("succeeded", "total").add(seconds)
    for tier in (Bucket.MINUTE, Bucket.HOUR):
        counts = {"succeeded": len(totals), "failed": failed, **more}
        start = (MINUTE - minutes_ago) * 60 // tier
        Bucket.objects.create(
            tier=tier, start=start, task=task, queue=queue, sketches=sketches.dumps(), **counts
        )


def heartbeat(name: str, seconds_ago: float = 1, **detail: object) -> None:
    Heartbeat.objects.create(name=name, at=ago(seconds_ago), host="h", pid=1, detail=json.dumps(detail))


def worker(name: str, silent: float = 0, **facts: Any) -> Worker:
    return Worker.objects.create(producer=name, name=name, seen_at=ago(silent), online_at=ago(900), **facts)


def test_before_anything_was_seen_it_is_ready_and_knows_nothing() -> None:
    found = frame()
    assert (found["word"], found["since"], found["reason"]) == ("ready", None, None)
    assert found["began"] is None
    assert found["figures"]["rate"] == {"now": None, "peak": None, "peak_at": None, "trend": [None] * 24}
    assert found["figures"]["success"]["share"] is None
    assert found["figures"]["latency"]["p95"] is None
    assert found["figures"]["latency"]["oldest"] is None
    assert found["figures"]["workers"] == {
        "online": 0,
        "known": 0,
        "busy": 0,
        "slots": 0,
        "trend": [None] * 30,
    }
    assert found["chart"]["finished"] == [None] * 60
    assert found["chart"]["oldest"] == [None] * 60
    assert [queue["name"] for queue in found["queues"]] == ["default", "high", "low"]
    assert {queue["state"] for queue in found["queues"]} == {"unknown"}
    assert found["schedules"] == {"state": "never", "seen": None}
    assert found["record"] == {
        "lag": None,
        "lost": 0,
        "gaps": 0,
        "last_event": None,
        "quarantined": 0,
        "monitor": "never",
    }


def test_it_fits_into_json_and_has_no_key_that_a_client_would_take_for_a_page() -> None:
    found = json.loads(live.text_of(frame()))
    assert found["topic"] == "overview.all"
    assert found["at"] == NOW.timestamp()
    assert not {"content", "payload"} & found.keys()


def test_jobs_per_hour_and_success_come_from_the_buckets() -> None:
    heartbeat("monitor")
    bucket(120, *[1.0] * 900, failed=100)
    bucket(1, *[1.0] * 10, failed=1)
    bucket(0, *[1.0] * 4, failed=1, queue="low", revoked=2, rejected=1)
    figures = frame()["figures"]
    assert figures["rate"]["now"] == pytest.approx((11 + 8) * 3600 / 330)
    assert (figures["rate"]["peak"], figures["rate"]["peak_at"]) == (1000, (MINUTE - 122) * 60)
    assert figures["rate"]["trend"][-3:] == [1000, 0, 19]
    assert (figures["success"]["succeeded"], figures["success"]["failed"]) == (914, 102)
    assert figures["success"]["share"] == pytest.approx(914 / 1016)
    assert figures["success"]["recent"] == pytest.approx(14 / 16)


def test_what_ended_more_than_a_day_ago_is_not_in_the_success_rate() -> None:
    bucket(24 * 60 + 1, *[1.0] * 50)
    bucket(24 * 60 - 1, *[1.0] * 7, failed=1, task="other")
    success = frame()["figures"]["success"]
    assert (success["succeeded"], success["failed"]) == (7, 1)


def test_latency_is_of_the_last_hour() -> None:
    bucket(61, 900.0)
    bucket(59, 1.0, task="early")
    bucket(0, *[1.0] * 97, 3.0, 3.0, task="other")
    latency = frame()["figures"]["latency"]
    assert latency["count"] == 100
    assert latency["avg"] == pytest.approx(1.04)
    assert latency["p50"] == pytest.approx(1.0, rel=0.021)
    assert latency["p95"] == pytest.approx(1.0, rel=0.021)
    assert latency["trend"][0] == pytest.approx(1.0, rel=0.021)
    assert latency["trend"][-1] == pytest.approx(1.0, rel=0.021)
    assert latency["trend"][1:-1] == [None] * 28


def test_the_chart_ends_with_the_running_minute() -> None:
    bucket(0, 1.0, failed=2)
    bucket(59, 1.0, 1.0, task="other")
    chart = frame()["chart"]
    assert chart["start"] == (MINUTE - 59) * 60
    assert (chart["finished"][0], chart["finished"][-1], sum(chart["finished"])) == (2, 3, 5)
    assert (chart["failed"][-1], sum(chart["failed"])) == (2, 2)


def test_a_queue_shows_its_last_sample_and_the_flow_of_five_minutes() -> None:
    bucket(1, 1.0, queue="high", published=33, started=22, retried=3)
    sample("high", 62, depth=9, waited=100)
    sample("high", 2, depth=4, waited=12)
    worker("w@h", queues="high,default", slots=4, busy=1)
    high = queue("high")
    assert (high["state"], high["depth"], high["target"], high["slots"]) == ("late", 4, 10.0, 4)
    assert high["oldest"] == pytest.approx(12)
    assert high["in"] == pytest.approx(36 / 90)
    assert high["out"] == pytest.approx(22 / 90)
    assert high["trend"][-1] == 4


def queue(name: str, **options: Any) -> dict[str, Any]:
    return next(queue for queue in frame(**options)["queues"] if queue["name"] == name)


def sample(name: str, seconds_ago: float, *, depth: int | None, waited: float | None = None) -> None:
    at = ago(seconds_ago)
    oldest = at - timedelta(seconds=waited) if waited is not None else None
    QueueSample.objects.create(queue=name, at=at, depth=depth, oldest_at=oldest)


def test_a_queue_with_jobs_and_no_worker_comes_first() -> None:
    worker("w@h", queues="high,default", slots=4)
    for name in ("high", "default", "low", "zebra"):
        sample(name, 2, depth=3 if name != "default" else 0, waited=1)
    assert [(queue["name"], queue["state"]) for queue in frame()["queues"]] == [
        ("low", "none"),
        ("zebra", "none"),
        ("high", "healthy"),
        ("default", "idle"),
    ]


def test_a_worker_that_does_not_tell_its_queues_may_serve_them_all() -> None:
    worker("w@h", queues=None)
    sample("low", 2, depth=3, waited=1)
    assert queue("low")["state"] == "healthy"


def test_an_old_sample_tells_nothing_about_now() -> None:
    sample("high", 16, depth=0)
    high = queue("high")
    assert (high["state"], high["depth"], high["oldest"]) == ("unknown", None, None)
    assert frame()["figures"]["latency"]["oldest"] is None


def test_the_oldest_waiting_is_nothing_only_where_nothing_waits() -> None:
    sample("high", 2, depth=0)
    assert frame()["figures"]["latency"]["oldest"] == 0
    sample("low", 2, depth=3)
    assert frame()["figures"]["latency"]["oldest"] is None
    sample("default", 2, depth=3, waited=5)
    assert frame()["figures"]["latency"]["oldest"] == pytest.approx(5)


def test_capacity_is_what_online_workers_tell() -> None:
    worker("a@h", queues="high", slots=4, busy=3)
    worker("b@h", queues="high", slots=2, busy=0)
    worker("dead@h", silent=60, queues="high", slots=8, busy=8)
    figures = frame()["figures"]["workers"]
    assert (figures["online"], figures["known"], figures["busy"], figures["slots"]) == (2, 3, 3, 6)


def test_capacity_is_not_known_where_one_does_not_tell() -> None:
    worker("a@h", slots=4, busy=3)
    worker("b@h", slots=None, busy=None)
    figures = frame()["figures"]["workers"]
    assert (figures["busy"], figures["slots"]) == (None, None)


def test_the_trend_of_capacity_comes_from_its_samples() -> None:
    WorkerSample.objects.create(at=ago(3), online=1, known=1, busy=3, slots=4)
    WorkerSample.objects.create(at=ago(300), online=1, known=1, busy=None, slots=4)
    WorkerSample.objects.create(at=ago(3700), online=1, known=1, busy=4, slots=4)
    assert frame()["figures"]["workers"]["trend"] == [None] * 29 + [0.75]


def test_workers_are_judged_as_of_the_moment_when_we_could_last_see() -> None:
    Job.objects.create(task_id="j", state="queued", seen_at=NOW)
    heartbeat("monitor", seconds_ago=600)
    worker("w@h", silent=601)
    found = frame()
    assert (found["word"], found["reason"], found["since"]) == ("blind", "monitor", ago(600).timestamp())
    assert worker_states() == ["online"]


def test_what_happens_now_is_not_known_while_we_are_blind() -> None:
    heartbeat("monitor", seconds_ago=60)
    bucket(61, *[1.0] * 10)
    figures = frame()["figures"]
    assert (figures["rate"]["now"], figures["success"]["recent"]) == (None, None)
    assert (figures["rate"]["peak"], figures["success"]["succeeded"]) == (10, 10)


def test_the_record_began_with_its_first_hour_whether_we_see_or_not() -> None:
    bucket(61, 1.0)
    bucket(1, 1.0)
    found = frame()
    assert (found["word"], found["began"]) == ("blind", (MINUTE - 62) * 60)


def test_what_needs_somebody_is_told_worst_first() -> None:
    heartbeat("monitor")
    worker("a@h", queues="high,default", slots=1)
    worker("b@h", silent=60, queues="high", busy=1)
    sample("high", 2, depth=4, waited=12)
    sample("default", 2, depth=0)
    sample("low", 2, depth=1, waited=40)
    found = frame()
    assert [(row["what"], row["name"], row["severity"]) for row in found["needs"]["rows"]] == [
        ("no consumer", "low", "page"),
        ("worker dead", "b@h", "warn"),
        ("oldest", "high", "warn"),
    ]
    assert found["needs"]["rows"][0]["since"] == ago(42).timestamp()
    assert found["needs"]["rows"][0]["trend"][-1] == 1
    assert (found["word"], found["since"]) == ("burning", ago(42).timestamp())
    assert (found["needs"]["total"], found["needs"]["unowned"], found["needs"]["more"]) == (3, 3, 0)


def test_nothing_needs_anybody_on_a_healthy_night() -> None:
    heartbeat("monitor")
    worker("a@h", queues="high,default,low", slots=1)
    for name in ("high", "default", "low"):
        sample(name, 2, depth=0)
    bucket(1, *[1.0] * 40, failed=1)
    found = frame()
    assert (found["word"], found["needs"]["rows"]) == ("quiet", [])


def fires(kind: str, **facts: Any) -> Alert:
    rule = Rule.objects.filter(kind=kind).first() or Rule.objects.create(name=kind, kind=kind)
    told = {"severity": "warn", "since": ago(300), "fired_at": ago(240), "last_seen": NOW, "state": "firing"}
    return Alert.objects.create(rule=rule, **{**told, **facts})


def test_it_is_not_quiet_while_an_alert_fires() -> None:
    heartbeat("monitor")
    worker("a@h", queues="high,default,low", slots=1)
    alert = fires("new error", about="error", key="t: KeyError", task="t", severity="info")
    found = frame()
    assert (found["word"], found["since"]) == ("drifting", ago(300).timestamp())
    assert [(row["what"], row["name"], row["alert"]) for row in found["needs"]["rows"]] == [
        ("new error", "t", alert.pk)
    ]


def test_what_it_counts_of_alerts_is_what_every_page_counts() -> None:
    fires("slow", about="queue", key="high", queue="high", acknowledged_at=ago(9), acknowledged_by="ana")
    fires("no success", about="task", key="t", task="t", silenced_until=ago(-60))
    fires("depth", about="queue", key="low", queue="low", state="pending", fired_at=None)
    fires("stalled", about="queue", key="a", queue="a", severity="page", fired_at=ago(99))
    fires("oldest", about="queue", key="b", queue="b", state="resolved", resolved_at=ago(9))
    found = frame()["alerts"]
    assert found == alert_frame.count(Cluster.DEFAULT_ID, EVERYTHING, NOW)
    assert (found["firing"], found["unowned"], found["tone"]) == (2, 1, "page")
    assert (found["silenced"], found["pending"]) == (1, 1)


def test_what_changed_in_two_hours_is_told_the_latest_first() -> None:
    heartbeat("monitor")
    worker("old@h", release="r1")
    Worker.objects.filter(name="old@h").update(online_at=ago(9_000))
    worker("new@h", release="r2")
    Worker.objects.filter(name="new@h").update(online_at=ago(600))
    worker("left@h", offline_at=ago(200), silent=200, release="r1")
    Worker.objects.filter(name="left@h").update(online_at=ago(9_000))
    fires("slow", about="queue", key="high", queue="high", state="resolved", resolved_at=ago(100))
    Gap.objects.create(source="s", reason="cap", began_at=ago(1400), ended_at=ago(1300), lost=4)
    assert [(change["what"], change["name"] or change["detail"]) for change in frame()["changes"]] == [
        ("resolved", "Jobs wait for minutes"),
        ("worker offline", "left@h"),
        ("alert", "Jobs wait for minutes"),
        ("release", "r2"),
        ("gap", ""),
    ]


def test_while_nobody_listens_no_worker_is_told_to_have_gone_silent() -> None:
    heartbeat("monitor", seconds_ago=65)
    worker("w@h", silent=65)
    found = frame()
    assert found["word"] == "blind"
    assert [change["what"] for change in found["changes"]] == ["worker online"]


def test_a_gap_of_unknown_size_is_not_told_as_nothing() -> None:
    heartbeat("monitor")
    Gap.objects.create(source="s", reason="cap", began_at=ago(90), ended_at=ago(60), lost=None)
    (row,) = frame()["needs"]["rows"]
    assert (row["what"], row["facts"]["value"]) == ("gap", None)


def test_a_worker_whose_successor_said_goodbye_is_missed_by_nobody() -> None:
    heartbeat("monitor")
    worker("w@h", silent=9_000)
    Worker.objects.create(
        producer="second", name="w@h", seen_at=ago(300), online_at=ago(8_000), offline_at=ago(300)
    )
    found = frame()
    assert (worker_states(), found["needs"]["rows"]) == ([], [])


def test_what_is_silenced_hides_only_what_it_tells_of() -> None:
    heartbeat("monitor")
    worker("w@h", queues="high")
    fires("depth", about="queue", key="low", queue="low", severity="info", silenced_until=ago(-900))
    QueueSample.objects.create(at=ago(5), queue="low", depth=900, oldest_at=ago(1_800))
    found = frame()
    assert [row["what"] for row in found["needs"]["rows"]] == ["no consumer"]
    assert (found["word"], found["needs"]["silenced"]) == ("burning", 1)


def test_a_broker_that_is_out_of_reach_is_said() -> None:
    heartbeat("monitor")
    heartbeat("broker", ok=False, error="refused")
    Position.objects.create(source="s", committed_at=ago(40), last_event_at=ago(41), lag=0.1)
    worker("w@h", silent=41)
    found = frame()
    assert (found["word"], found["reason"], found["since"]) == ("blind", "broker", ago(40).timestamp())
    assert worker_states() == ["online"]


def test_a_broker_that_was_not_asked_lately_is_not_judged() -> None:
    worker("w@h")
    heartbeat("monitor")
    heartbeat("broker", seconds_ago=60, ok=False)
    assert frame()["word"] == "quiet"


def test_a_record_far_behind_is_said() -> None:
    worker("w@h")
    heartbeat("monitor")
    Position.objects.create(source="s", committed_at=ago(1), lag=25.0)
    found = frame()
    assert (found["word"], found["reason"], found["since"]) == ("blind", "lag", ago(25).timestamp())
    assert found["record"]["lag"] == 25.0


def test_a_lag_of_long_ago_is_not_the_lag_of_now() -> None:
    worker("w@h")
    heartbeat("monitor")
    Position.objects.create(source="s", committed_at=ago(60), lag=25.0)
    found = frame()
    assert found["word"] == "quiet"
    assert found["record"]["lag"] is None


def test_a_monitor_that_is_stuck_beside_its_sampler_is_blind() -> None:
    worker("w@h")
    heartbeat("monitor", leading=True, lag=41.0)
    Position.objects.create(source="s", committed_at=ago(60), lag=0.1)
    found = frame()
    assert (found["word"], found["reason"], found["record"]["lag"]) == ("blind", "lag", 41.0)


def test_gaps_of_the_last_day_are_counted_with_what_they_lost() -> None:
    worker("w@h")
    heartbeat("monitor")
    Gap.objects.create(source="s", reason="cap", began_at=ago(700), ended_at=ago(600), lost=40)
    Gap.objects.create(source="s", reason="cap", began_at=ago(400), ended_at=ago(300), lost=None)
    Gap.objects.create(source="s", reason="cap", began_at=ago(10**6), ended_at=ago(10**6), lost=1)
    Quarantine.objects.create(reason="r", count=3, first_at=NOW, last_at=NOW, sample="")
    Quarantine.objects.create(reason="q", count=4, first_at=NOW, last_at=NOW, sample="")
    found = frame()
    assert (found["record"]["gaps"], found["record"]["lost"], found["record"]["quarantined"]) == (2, 40, 7)
    assert (found["word"], found["since"]) == ("quiet", ago(300).timestamp())


def test_the_latest_failures_are_the_youngest_jobs_that_failed() -> None:
    for number in range(12):
        state = "revoked" if number == 11 else "failed"
        job = Job.objects.create(
            task_id=f"j{number}", state=state, seen_at=NOW, task="t", exception="E", ended_at=NOW, attempts=2
        )
        Standing.objects.create(job=job, state=state)
    failures = frame()["failures"]
    assert [failure["task_id"] for failure in failures] == [f"j{number}" for number in range(10, 2, -1)]
    assert failures[0]["ended"] == NOW.timestamp()
    assert failures[0]["attempts"] == 2


def test_other_clusters_are_not_mixed_in() -> None:
    other = Cluster.objects.create(name="other")
    Bucket.objects.create(cluster=other, tier=60, start=MINUTE, task="t", queue="q", succeeded=5)
    Bucket.objects.create(cluster=other, tier=3600, start=MINUTE // 60, task="t", queue="q", succeeded=5)
    Worker.objects.create(cluster=other, producer="o", name="o", seen_at=NOW)
    job = Job.objects.create(cluster=other, task_id="o", state="failed", seen_at=NOW)
    Standing.objects.create(cluster=other, job=job, state="failed")
    QueueSample.objects.create(cluster=other, queue="q", at=NOW, depth=3)
    assert frame()["word"] == "ready"
    assert [queue["name"] for queue in frame()["queues"]] == ["default", "high", "low"]
    assert live.overview(other.pk, "all", NOW)["figures"]["success"]["succeeded"] == 5


def test_of_many_queues_the_worst_are_shown_and_the_others_counted() -> None:
    for number in range(33):
        sample(f"queue {number:02}", 1, depth=0)
    sample("queue late", 1, depth=5, waited=10_000)
    queues, more = (frame()[name] for name in ("queues", "more_queues"))
    assert (queues[0]["name"], len(queues), more) == ("queue late", 30, 7)


def fill(times: int) -> None:
    """A busy day: many tasks, queues, samples, jobs and workers."""
    for number in range(times):
        bucket(number % 60, 1.0, 2.0, task=f"task {number}", queue=f"queue {number % 5}", published=2)
        sample(f"queue {number % 5}", 1 + number * 3, depth=number, waited=1)
        WorkerSample.objects.create(at=ago(number), online=1, known=1, busy=1, slots=2)
        worker(f"w{number}@h", queues="high", slots=2)
        job = Job.objects.create(task_id=f"j{number}", state="failed", seen_at=NOW)
        Standing.objects.create(job=job, state="failed")


def test_its_statements_do_not_grow_with_the_rows(django_assert_num_queries: Statements) -> None:
    fill(1)
    with django_assert_num_queries(12):
        frame()
    fill_more()
    with django_assert_num_queries(12):
        found = frame()
    assert found["figures"]["workers"]["online"] == 41


def fill_more() -> None:
    Worker.objects.all().delete()
    for model in (Bucket, QueueSample, WorkerSample, Standing, Job):
        model.objects.all().delete()
    fill(41)


def test_a_frame_from_memory_is_the_same_frame() -> None:
    fill(30)
    memory = Memory()
    first = frame(memory=memory)
    assert frame(memory=memory) == first == frame()


def test_memory_notices_what_comes_late(django_assert_num_queries: Statements) -> None:
    memory = Memory()
    bucket(20, 1.0)
    frame(memory=memory)
    bucket(20, 9.0, task="late")
    sample("high", 1, depth=2, waited=7)
    later = NOW + timedelta(seconds=4)
    found = frame(later, memory)
    assert found == frame(later)
    assert found["figures"]["latency"]["count"] == 2
    assert queue("high", now=later, memory=memory)["depth"] == 2


def test_memory_does_not_grow_with_time() -> None:
    memory = Memory()
    bucket(0, 1.0)
    for hours in range(4):
        frame(NOW + timedelta(hours=hours), memory)
    assert max(len(memory.latency), len(memory.queues), len(memory.busy)) <= 60


def test_the_page_shows_what_the_frame_holds(client: Client, ops: User) -> None:
    client.force_login(ops)
    response = client.get("/")
    assert response.status_code == 200
    assert response.context["frame"]["word"] == "ready"
    assert response.context["record"] == response.context["frame"]["record"]


def test_the_page_asks_the_database_only_a_few_times(
    client: Client, ops: User, django_assert_max_num_queries: Statements
) -> None:
    client.force_login(ops)
    with django_assert_max_num_queries(15):
        client.get("/")
