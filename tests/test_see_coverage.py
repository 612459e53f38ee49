"""Coverage: can the record be believed, and what would make it more."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from dashboard.limit_words import WORDS, words_of
from jobs import coverage, live
from jobs.coverage import CLAIMS, Coverage
from jobs.limits import Limit
from jobs.models import Bucket, Cluster, Heartbeat, Job, Position, Producer, Worker
from tests.setups import (
    a_broker,
    a_gap,
    a_monitor,
    a_worker,
    a_worker_of_rabbitmq,
    all_is_well,
    much_is_ill,
    set_aside,
)
from tests.test_templates import HOSTILE, words

pytestmark = pytest.mark.django_db
# Findings that the setup of one worker or broker can't have together with the others.
APART = {
    *("blind-monitor", "blind-broker", "blind-lag", "gaps-uncounted"),
    *("redis-old", "append-failed", "keeps-nothing", "never-syncs", "syncs-late"),
}


@pytest.fixture
def page(visitor: Client) -> Callable[..., str]:
    def read(address: str = "/coverage/", status: int = 200) -> str:
        response = visitor.get(address)
        assert response.status_code == status
        return response.content.decode()

    return read


def look() -> Coverage:
    return coverage.read_coverage(Cluster.DEFAULT_ID, timezone.now())


def found(code: str) -> Limit | None:
    return next((limit for limit in coverage.limits(look()) if limit.code == code), None)


def codes() -> set[str]:
    return {limit.code for limit in coverage.limits(look())}


def the(code: str) -> Limit:
    limit = found(code)
    assert limit is not None, f"{code} is not among {codes()}"
    return limit


def events_were_seen() -> None:
    now = timezone.now()
    Position.objects.create(source="s", last_id="1-0", last_event_at=now, committed_at=now, lag=0.1)
    the_record_began(now - timedelta(hours=3))


def the_record_began(at: datetime, *, minutes_are_kept: bool = True) -> None:
    Bucket.objects.all().delete()
    for tier in (Bucket.HOUR, Bucket.MINUTE) if minutes_are_kept else (Bucket.HOUR,):
        for start in (int(at.timestamp() // tier), int(at.timestamp() // tier) + 1):
            Bucket.objects.create(tier=tier, start=start, task="t", queue="q")


def a_good_installation() -> None:
    events_were_seen()
    a_worker(timezone.now())
    all_is_well(timezone.now())


# The verdict


def test_before_anything_was_seen_it_knows_nothing_and_says_so(page: Callable[..., str]) -> None:
    shown = words(page())
    assert "No event has been seen yet" in shown
    assert {claim.grade for claim in coverage.claims(look(), [])} == {"unknown"}


def test_where_nothing_limits_the_record_it_says_since_when_all_is_here(page: Callable[..., str]) -> None:
    a_good_installation()
    shown = words(page())
    assert codes() == set()
    began = datetime.fromtimestamp(Bucket.objects.filter(tier=60).earliest("start").start * 60, UTC)
    assert re.search(rf"Everything that your workers did since .*{began:%H:%M}:00 is here", shown)
    assert "No setting that we know puts jobs at risk." in shown
    assert "What limits the record" not in shown


def test_what_the_record_cannot_know_of_its_first_hour_it_does_not_claim(page: Callable[..., str]) -> None:
    a_good_installation()
    began = timezone.now() - timedelta(days=3)
    the_record_began(began, minutes_are_kept=False)
    after_its_hour = began + timedelta(hours=1)
    assert f"since {after_its_hour:%Y-%m-%d %H}:00:00 is here" in words(page())


def test_what_retention_has_removed_is_not_claimed_to_be_here() -> None:
    a_good_installation()
    the_record_began(timezone.now() - timedelta(days=20))
    seen = look()
    assert seen.since == seen.trust.now - timedelta(days=7)


def test_all_is_here_since_the_last_gap_of_long_ago(page: Callable[..., str]) -> None:
    a_good_installation()
    ended = timezone.now() - timedelta(hours=25)
    the_record_began(ended - timedelta(days=2))
    a_gap(ended, lost=3)
    assert f"since {ended:%Y-%m-%d %H:%M:%S} is here" in words(page())


def test_one_thing_is_named_with_since_when_and_what_to_write(page: Callable[..., str]) -> None:
    a_good_installation()
    Worker.objects.update(events=False)
    markup = page()
    assert "1 thing limits what you see" in words(markup)
    assert "Workers send no events of their jobs" in words(markup)
    assert '<code tabindex="0">worker_send_task_events = True</code>' in markup
    online = Worker.objects.get().online_at
    assert online is not None
    assert the("events-off").since == online
    assert the("events-off").workers == ("default@ams-1",)


def test_many_things_are_counted_and_the_worst_come_first(page: Callable[..., str]) -> None:
    events_were_seen()
    much_is_ill(timezone.now())
    limits = coverage.limits(look())
    assert [limit.tone for limit in limits] == sorted(
        (limit.tone for limit in limits), key=["bad", "warn", "idle"].index
    )
    sight = [limit for limit in limits if limit.effect == "sight" and limit.counts]
    assert f"{len(sight)} things limit what you see" in words(page())


def test_each_finding_can_be_found_and_has_words() -> None:
    events_were_seen()
    much_is_ill(timezone.now())
    assert codes() | APART == set(WORDS)
    for limit in coverage.limits(look()):
        told = words_of(limit)
        assert "%(" not in f"{told.title}{told.why}{told.mend}"
        assert told.title
        assert told.why


# Limits of sight


def test_a_silent_monitor_is_the_first_thing_said() -> None:
    a_good_installation()
    Heartbeat.objects.filter(name="monitor").update(at=timezone.now() - timedelta(minutes=5))
    first = coverage.limits(look())[0]
    assert (first.code, first.tone, first.since) == (
        "blind-monitor",
        "bad",
        Heartbeat.objects.get(name="monitor").at,
    )


def test_a_record_that_is_behind_says_since_when() -> None:
    a_good_installation()
    noon = timezone.now() - timedelta(hours=1)
    a_monitor(timezone.now(), lag=900.0, behind_since=noon.timestamp())
    assert (the("blind-lag").since, the("blind-lag").numbers["lag"]) == (noon, 900.0)


def test_a_broker_out_of_reach_keeps_what_it_told_last(page: Callable[..., str]) -> None:
    a_good_installation()
    a_broker(timezone.now(), ok=False)
    assert the("blind-broker").tone == "bad"
    assert "noeviction" in words(page())


@pytest.mark.parametrize(("lost", "code"), [(12, "gaps"), (None, "gaps-uncounted")])
def test_gaps_of_the_last_day_are_said_with_what_they_lost(lost: int | None, code: str) -> None:
    a_good_installation()
    gap = a_gap(timezone.now() - timedelta(hours=2), lost=lost)
    assert (the(code).since, the(code).numbers["until"]) == (gap.began_at, gap.ended_at)
    assert len({"gaps", "gaps-uncounted"} & codes()) == 1


def test_what_could_not_be_read_lately_is_said_and_what_is_old_is_not() -> None:
    a_good_installation()
    set_aside(timezone.now(), "no task id", 7, "{}")
    set_aside(timezone.now() - timedelta(days=3), "not JSON", 900, "{}")
    assert the("quarantined").numbers["events"] == 7


@pytest.mark.parametrize(("length", "tone"), [(399_999, None), (400_000, "warn"), (490_000, "bad")])
def test_a_stream_near_its_cap_is_said_before_it_cuts(length: int, tone: str | None) -> None:
    a_good_installation()
    a_monitor(timezone.now(), stream={"name": "s", "length": length, "cap": 500_000})
    limit = found("stream-full")
    assert (limit.tone if limit else None) == tone


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"events": False}, "events-off"),
        ({"dropped": 3}, "dropped"),
        ({"faults": 3}, "recorder-faults"),
        ({"tasks": {"silent": 1}}, "silent-tasks"),
        ({"unstamped": 3}, "unstamped"),
        ({"tasks": {"late_longest": 3600.0}}, "outlives"),
        ({"tasks": {"late_unlimited": 1}}, "outlives"),
        ({"pool": "threads", "tasks": {"late": 0}}, "hard-unenforced"),
        ({"pool": "gevent"}, "soft-unenforced"),
        ({"requeues_lost": True}, "requeues-lost"),
        ({"prefetch": 0}, "prefetches-all"),
        ({"prefetch": 4}, "prefetches"),
        ({"tasks": {"late": 3}}, "early-acks"),
        ({"celery": "5.6.0"}, "faults-sight"),
        ({"kombu": "5.6.0"}, "faults-jobs"),
    ],
)
def test_a_setup_that_hides_or_risks_something_is_said(facts: dict[str, Any], code: str) -> None:
    a_good_installation()
    a_worker(timezone.now(), "ill@ams-2", **facts)
    assert the(code).workers == ("ill@ams-2",)


@pytest.mark.parametrize("name", ["threads", "solo", "eventlet"])
def test_late_jobs_of_a_pool_without_hard_limits_may_outlive_their_message(name: str) -> None:
    a_good_installation()
    a_worker(timezone.now(), "ill@ams-2", pool=name)
    assert {"outlives", "hard-unenforced"} <= codes()


def test_of_a_pool_that_nobody_knows_nothing_is_claimed(page: Callable[..., str]) -> None:
    a_good_installation()
    a_worker(timezone.now(), "odd@ams-2", pool="their.pools")
    assert codes() == set()
    rows = re.findall(r'<tr id="worker-.*?</tr>', page(), flags=re.S)
    assert "?" in next(words(row) for row in rows if "odd@ams-2" in row)


def test_where_the_broker_knows_that_a_worker_is_gone_no_job_outlives_its_message() -> None:
    a_good_installation()
    a_worker(
        timezone.now(), "amqp@ams-2", transport="amqp", visibility_timeout=None, tasks={"late_unlimited": 5}
    )
    assert codes() == set()


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, set()),
        ({"consumer_timeout": 1801.0}, set()),
        ({"consumer_timeout": 1800.0}, {"outlives-consumer"}),
        ({"consumer_timeout": 9e4, "tasks": {"late_unlimited": 1}}, {"outlives-consumer"}),
        ({"transient": 1}, {"transient"}),
        ({"overflowing": 2}, {"overflows"}),
        ({"confirms": False}, {"unconfirmed"}),
        ({"prioritised": 1}, {"unprioritised"}),
        (dict.fromkeys(("queues", "prioritised", "transient", "overflowing", "confirms")), set()),
    ],
)
def test_what_workers_know_of_rabbitmq_makes_findings_and_what_they_do_not_makes_none(
    facts: dict[str, Any], expected: set[str]
) -> None:
    a_good_installation()
    a_worker_of_rabbitmq(timezone.now(), **facts)
    assert codes() == expected


def test_a_rabbitmq_is_shown_as_its_workers_know_it(page: Callable[..., str]) -> None:
    a_good_installation()
    assert "RabbitMQ" not in page()
    a_worker_of_rabbitmq(timezone.now(), "one", quorum=1)
    a_worker_of_rabbitmq(timezone.now(), "two", quorum=1, confirms=None, heartbeat=None)
    assert facts_of(page(), "Broker: RabbitMQ") == {
        "Version": "3.13.7", "Queue type": "1 quorum, 1 classic, 1 ?", "Consumer timeout": "?",
        "Queues with priorities": "3 of 3", "Queues not on disk": "0 of 3", "Queues that overflow": "?",
        "Publishes confirmed": "on; ?", "Heartbeat": "2 min; ?", "Memory, disk, policies": "?",
    }  # fmt: skip


def facts_of(markup: str, title: str) -> dict[str, str]:
    """What a section of the page tells, by name."""
    section = markup[markup.index(f">{title}<") :].partition("</section>")[0]
    told = re.findall(r"<dt>(.*?)</dt><dd.*?>(.*?)</dd>", section)
    return {words(what): words(how) for what, how in told}


def test_counts_of_several_workers_are_summed_and_the_shortest_timeout_counts() -> None:
    a_good_installation()
    for name, timeout in (("one", 600.0), ("two", 900.0)):
        a_worker(timezone.now(), name, unstamped=5, received=10, visibility_timeout=timeout)
    assert dict(the("unstamped").numbers) == {"unstamped": 10, "received": 20}
    assert the("outlives").numbers["timeout"] == 600.0


def test_a_worker_that_has_not_told_its_setup_is_unknown_not_well(page: Callable[..., str]) -> None:
    a_good_installation()
    Worker.objects.create(producer="old", name="old@ams-9", seen_at=timezone.now(), online_at=timezone.now())
    assert the("setup-unknown").counts is False
    row = re.findall(r'<tr id="worker-.*?</tr>', page(), flags=re.S)
    old = next(words(text) for text in row if "old@ams-9" in text)
    assert old.count("?") >= 7


def test_a_dead_worker_limits_nothing_any_more() -> None:
    a_good_installation()
    a_worker(timezone.now(), "gone@ams-2", events=False)
    Worker.objects.filter(name="gone@ams-2").update(seen_at=timezone.now() - timedelta(minutes=2))
    assert codes() == set()


# Limits of the broker


@pytest.mark.parametrize(
    ("facts", "code", "tone"),
    [
        ({"version": "6.0.16"}, "redis-old", "bad"),
        ({"version": "6.2.6"}, "cap-unmeasured", "warn"),
        ({"eviction": "allkeys-lru"}, "evicts", "warn"),
        ({"evicted_keys": 1}, "evicted", "bad"),
        ({"used_memory": 1_600_000_000}, "memory-full", "warn"),
        ({"append_only": False}, "keeps-nothing", "warn"),
        ({"append_only": False, "snapshots": "3600 1"}, "only-snapshots", "warn"),
        ({"append_sync": "no"}, "never-syncs", "warn"),
        ({"append_sync": "everysec"}, "syncs-late", "idle"),
        ({"last_snapshot_ok": False}, "snapshot-failed", "bad"),
        ({"last_append_ok": False}, "append-failed", "bad"),
    ],
)
def test_a_redis_that_may_lose_jobs_is_said(facts: dict[str, Any], code: str, tone: str) -> None:
    a_good_installation()
    now = timezone.now()
    a_broker(now, **facts)
    assert the(code).tone == tone
    assert the(code).since is None or now - the(code).since == timedelta(hours=1)  # type: ignore[operator]
    assert "%(" not in str(words_of(the(code)).why)


@pytest.mark.parametrize(
    "facts",
    [
        {"eviction": "allkeys-lru", "max_memory": 0},
        {"append_only": None, "append_sync": None, "snapshots": None},
        {"version": None, "eviction": None, "used_memory": None, "evicted_keys": None},
    ],
)
def test_what_a_redis_does_not_say_or_cannot_do_is_no_finding(facts: dict[str, Any]) -> None:
    a_good_installation()
    a_broker(timezone.now(), **facts)
    assert codes() == set()


def test_a_broker_that_nobody_asked_is_unknown(page: Callable[..., str]) -> None:
    a_good_installation()
    Heartbeat.objects.filter(name="broker").delete()
    assert "The monitor has not asked it yet." in words(page())


# What is known


def grades() -> dict[str, str]:
    seen = look()
    return {claim.code: claim.grade for claim in coverage.claims(seen, coverage.limits(seen))}


def test_a_good_installation_knows_everything_but_what_a_killed_worker_had_in_hand() -> None:
    a_good_installation()
    assert grades() == {**dict.fromkeys(CLAIMS, "known"), "killed": "later"}


def test_a_message_without_a_stamp_makes_waits_known_in_part_only(page: Callable[..., str]) -> None:
    a_good_installation()
    Worker.objects.update(unstamped=3, received=10)
    assert {code for code, grade in grades().items() if grade == "partly"} == {"waits", "arguments", "queues"}
    assert words(page()).count("3 of 10 messages came without a publish stamp") >= 3


def test_a_silent_monitor_makes_ends_unknown() -> None:
    a_good_installation()
    Heartbeat.objects.filter(name="monitor").update(at=timezone.now() - timedelta(minutes=5))
    assert (grades()["ends"], grades()["arguments"]) == ("unknown", "known")


# Sources


def test_a_producer_with_a_loss_is_named_by_its_worker(page: Callable[..., str]) -> None:
    a_good_installation()
    Producer.objects.create(id="default@ams-1", last_seq=9, lost=40, seen_at=timezone.now())
    Producer.objects.create(id="feedc0de11", last_seq=9, lost=2, seen_at=timezone.now())
    shown = words(page())
    assert "40 lost · default@ams-1" in shown
    assert "2 lost · no worker" in shown


def test_figures_of_the_stream_are_those_of_the_monitor(page: Callable[..., str]) -> None:
    a_good_installation()
    figures = [words(text) for text in re.findall(r'<dd class="value">(.*?)</dd>', page(), flags=re.S)]
    assert figures == ["213", "0.1 s", "0", "0"]
    Heartbeat.objects.filter(name="monitor").update(at=timezone.now() - timedelta(minutes=5))
    assert re.search(r'<dd class="value">\?</dd>', page())


def test_a_monitor_of_an_older_release_tells_less(page: Callable[..., str]) -> None:
    a_good_installation()
    Heartbeat.objects.filter(name="monitor").update(detail='{"leading": true, "lag": 0.1}')
    Heartbeat.objects.filter(name="broker").update(detail='{"ok": true}')
    assert re.search(r"Kept in Redis\s*\?", words(page()))


def test_hostile_names_are_text(page: Callable[..., str]) -> None:
    events_were_seen()
    much_is_ill(timezone.now())
    Worker.objects.update(name=HOSTILE)
    a_broker(timezone.now(), version=HOSTILE, eviction=HOSTILE)
    markup = page()
    assert "<img" not in markup
    assert "&lt;img src=x onerror=alert(1)&gt;" in markup


# Cost, and following what happens


def test_it_costs_the_same_whatever_the_number_of_rows(
    page: Callable[..., str], django_assert_max_num_queries: Any
) -> None:
    events_were_seen()
    much_is_ill(timezone.now())
    now = timezone.now()
    for number in range(40):
        a_worker(now, f"w{number}@h", celery="5.6.3")
        a_gap(now - timedelta(hours=3), lost=1)
        Producer.objects.create(id=f"p{number}", last_seq=9, lost=1, seen_at=now)
    Job.objects.bulk_create([Job(task_id=f"j{number}", state="failed", seen_at=now) for number in range(50)])
    with django_assert_max_num_queries(16):
        page()


def test_its_topic_moves_with_each_look_of_the_monitor() -> None:
    topic = live.topic_named("coverage", "all")
    now = timezone.now()
    before = live.frame(topic, Cluster.DEFAULT_ID, now)
    a_monitor(now)
    after = live.frame(topic, Cluster.DEFAULT_ID, now)
    assert before is not None
    assert after is not None
    assert (before["topic"], before["seq"], after["seq"]) == ("coverage.all", 0, int(now.timestamp() * 1000))


def test_the_strip_of_each_page_leads_here(page: Callable[..., str]) -> None:
    events_were_seen()
    a_monitor(timezone.now())
    assert '<a class="fresh" href="/coverage/" data-fresh="live"' in page("/jobs/")
    a_gap(timezone.now(), lost=3)
    set_aside(timezone.now(), "no type", 2, "{}")
    strip = re.findall(r'<div class="side-foot">.*?</nav>', page("/jobs/"), flags=re.S)[0]
    assert re.search(r'<a href="/quarantine/" data-when="quarantined some">\s*<?.*Unreadable events', strip)
    assert re.search(r'<a class="fresh" href="/gaps/" data-fresh="gap" data-when="gaps some">', strip)
