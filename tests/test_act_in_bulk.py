"""Many jobs at once: a frozen set, looked at before, acted on at a pace, each job once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import orjson
import pytest
from django.contrib.auth.models import Group, User
from django.db import OperationalError
from django.utils import timezone

from dashboard import bulk_rows
from jobs import bulks
from jobs.bulks import Preview
from jobs.models import Bulk, BulkItem, Job, Outgoing, Payload, Reach, Revocation
from jobs.models.bulk import BulkState
from jobs.models.people import Outcome
from jobs.outbox import Message
from jobs.perform import Actor, perform
from tests.bulks import BODY, begun, came, made, member, previewed, start, worked
from workers.bulk import acting, gathering
from workers.bulk.acting import act_on_some
from workers.bulk.following import follow, stop_if_it_goes_wrong
from workers.commands.bulk import BulkAbort, BulkPause, BulkPreview, BulkResume, BulkStart
from workers.commands.jobs import Retry
from workers.messages import retry_message
from workers.monitor.bulks import BulkRunner, Pace

pytestmark = pytest.mark.django_db


@pytest.fixture
def ana() -> User:
    return member("ana", "operator")


def outcomes(bulk: Bulk) -> dict[str | None, int]:
    return dict(Counter(bulk.items.values_list("outcome", flat=True)))


# The set


def test_a_preview_counts_what_is_in_the_set_and_does_nothing(ana: User) -> None:
    made(3)
    made(2, queue="low", task="shop.sync")
    made(1, body=None)
    made(4, state="succeeded")
    bulk = previewed(ana, state="failed")
    preview = Preview.read(bulk.preview)
    assert (bulk.total, bulk.eligible, bulk.refused, bulk.state) == (6, 5, 1, "draft")
    assert preview.tasks == {"shop.pay": 4, "shop.sync": 2}
    assert preview.states == {"failed": 6}
    assert preview.queues == {"high": 3, "low": 2}, "where the new ones will go"
    assert [*preview.reasons.values()] == [1]
    assert len(preview.samples) == 5
    assert not Outgoing.objects.exists()
    assert act_on_some(bulk.pk, 100) == 0, "nobody has begun it"


def test_what_comes_later_does_not_enter_the_set(ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "WINDOW", 2)
    early = made(5)
    action = perform(Actor(ana, "page"), BulkPreview("retry", state="failed"))
    made(3)
    assert Bulk.objects.get(asked=action).frozen_at is None
    runner = BulkRunner(lambda: True)
    for now in range(5):
        runner.work(float(now))
    bulk = Bulk.objects.get(asked=action)
    assert bulk.frozen_at is not None
    assert set(bulk.items.values_list("job_id", flat=True)) == {job.pk for job in early}
    start(ana, bulk)
    made(2)
    assert worked(bulk).done == 5


@pytest.mark.parametrize("state", ["failed", "succeeded"])
def test_a_filter_finds_the_same_in_windows_of_any_size(
    ana: User, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setattr(gathering, "WINDOW", 3)
    for number in range(10):
        made(1, state=("failed", "succeeded")[number % 2], task=("a", "b")[number % 3 == 0], queue="q")
    expected = Job.objects.filter(state=state, task="a", queue="q").values_list("pk", flat=True)
    bulk = previewed(ana, state=state, task="a", queue="q")
    assert sorted(bulk.items.values_list("job_id", flat=True)) == sorted(expected)


def test_a_set_holds_so_many_and_says_so(ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "WINDOW", 4)
    monkeypatch.setattr(gathering, "MOST", 6)
    jobs = made(9)
    bulk = previewed(ana, state="failed")
    assert (bulk.total, bulk.capped) == (6, True)
    assert sorted(bulk.items.values_list("job_id", flat=True)) == [job.pk for job in jobs[3:]], "the newest"
    monkeypatch.setattr(gathering, "MOST", 9)
    assert not previewed(ana, state="failed").capped


def test_a_rare_match_is_not_looked_for_without_end(ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "WINDOW", 2)
    monkeypatch.setattr(gathering, "MOST_WINDOWS", 3)
    made(1, queue="rare")
    made(8)
    bulk = previewed(ana, task="shop.pay", queue="rare")
    assert (bulk.total, bulk.capped) == (0, True)


def test_jobs_are_chosen_one_by_one(ana: User) -> None:
    jobs = made(5)
    bulk = previewed(ana, jobs=(jobs[1].task_id, jobs[3].task_id, "nobody"))
    assert [*bulk.items.order_by("job_id").values_list("task_id", flat=True)] == ["job-1", "job-3"]
    assert Preview.read(bulk.preview).reasons == {gathering.NOT_RECORDED: 1}


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"jobs": ("job-0",), "state": "failed"},
        {"state": "sleeping"},
        {"jobs": tuple(map(str, range(1001)))},
    ],
)
def test_a_set_that_makes_no_sense_is_refused(ana: User, chosen: dict[str, Any]) -> None:
    assert perform(Actor(ana, "page"), BulkPreview("retry", **chosen)).refusal == "set"
    assert perform(Actor(ana, "page"), BulkPreview("bless", state="failed")).refusal == "deed"
    assert not Bulk.objects.exists()


# Beginning


def test_each_job_is_retried_with_the_body_it_had(ana: User) -> None:
    jobs = made(3)
    bulk = begun(ana, state="failed")
    assert act_on_some(bulk.pk, 100) == 3
    sent = {row.task_id: row for row in Outgoing.objects.all()}
    items = bulk.items.order_by("job_id")
    assert [item.job_id for item in items] == [job.pk for job in jobs]
    for item, job in zip(items, jobs, strict=True):
        row = sent[str(item.new_task_id)]
        assert (row.body, row.queue, row.task) == (BODY, job.queue, job.task)
        assert orjson.loads(row.headers)["nightdesk_retry_of"] == job.task_id
    bulk.refresh_from_db()
    assert (bulk.state, bulk.done, bulk.left) == ("finished", 3, 0)
    assert bulk.action is not None
    assert (bulk.action.outcome, bulk.action.count) == (Outcome.DONE, 3)


def test_each_job_is_revoked(ana: User) -> None:
    made(3, state="queued")
    made(2)
    bulk = worked(begun(ana, "revoke", task="shop.pay"))
    assert (bulk.done, bulk.refused) == (3, 2)
    assert set(Revocation.objects.values_list("task_id", flat=True)) == {"job-0", "job-1", "job-2"}


def test_a_bulk_begins_once(ana: User) -> None:
    made(2)
    bulk = previewed(ana, state="failed")
    first = perform(Actor(ana, "page"), BulkStart(bulk.pk), once="nonce-of-the-form")
    assert perform(Actor(ana, "page"), BulkStart(bulk.pk), once="nonce-of-the-form").pk == first.pk
    assert start(ana, bulk).refusal == "state"
    assert worked(bulk).done == 2


@pytest.mark.parametrize("confirm", [None, 0, 100, 102])
def test_above_a_hundred_jobs_their_number_is_typed_and_a_reason_given(
    ana: User, confirm: int | None
) -> None:
    made(101)
    bulk = previewed(ana, state="failed")
    assert start(ana, bulk, confirm=confirm).refusal == "confirm"
    assert perform(Actor(ana, "page"), BulkStart(bulk.pk, confirm=101)).refusal == "reason"
    assert start(ana, bulk, confirm=101).refusal is None


def test_a_hundred_jobs_need_no_number(ana: User) -> None:
    made(100)
    bulk = previewed(ana, state="failed")
    assert perform(Actor(ana, "page"), BulkStart(bulk.pk)).refusal is None


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"rate": 0.0}, "rate"),
        ({"rate": 501.0}, "rate"),
        ({"rate": float("nan")}, "rate"),
        ({"stop_share": 1.5}, "stop_share"),
    ],
)
def test_a_pace_that_makes_no_sense_is_refused(ana: User, wanted: dict[str, float], code: str) -> None:
    made(1)
    assert start(ana, previewed(ana, state="failed"), **wanted).refusal == code


def test_an_old_preview_or_one_of_nothing_is_not_begun(ana: User) -> None:
    made(1)
    bulk = previewed(ana, state="failed")
    Bulk.objects.update(made_at=timezone.now() - timedelta(hours=2))
    assert start(ana, bulk).refusal == "stale"
    assert start(ana, previewed(ana, state="queued")).refusal == "nothing"


# Who may


@pytest.mark.parametrize("role", ["viewer", ""])
def test_who_may_not_act_in_bulk_is_refused(role: str) -> None:
    made(1)
    assert perform(Actor(member("bo", role), "page"), BulkPreview("retry", state="failed")).refusal == (
        "permission"
    )


def test_the_deed_needs_its_own_permission_too(ana: User) -> None:
    made(2)
    bulk = previewed(ana, state="failed")
    group = Group.objects.get(name="operator")
    group.permissions.remove(group.permissions.get(codename="retry_job"))
    bo = User.objects.get(pk=ana.pk)
    assert perform(Actor(bo, "page"), BulkPreview("retry", state="failed")).refusal == "permission"
    assert start(bo, bulk).refusal == "permission"
    assert perform(Actor(bo, "page"), BulkPreview("revoke", state="failed")).refusal is None


def test_a_set_holds_what_its_maker_reaches_alone(ana: User) -> None:
    made(2, queue="high")
    made(3, queue="low")
    Reach.objects.create(user=ana, queues="hi*, mail")
    ana = User.objects.get(pk=ana.pk)
    bulk = begun(ana, task="shop.pay")
    assert (bulk.total, worked(bulk).done) == (2, 2)
    assert previewed(ana, jobs=("job-0", "job-4")).total == 1


def test_each_job_is_held_against_the_reach_when_it_is_acted_on(ana: User) -> None:
    made(2, queue="high")
    made(3, queue="low")
    bulk = begun(ana, state="failed")
    Reach.objects.create(user=ana, queues="high")
    assert (worked(bulk).done, bulk.refused) == (2, 3)


def test_it_stops_when_who_began_it_may_not_any_more(ana: User) -> None:
    made(5)
    bulk = begun(ana, state="failed")
    assert act_on_some(bulk.pk, 2) == 2
    ana.groups.clear()
    assert act_on_some(bulk.pk, 2) == 0
    bulk.refresh_from_db()
    assert (bulk.state, bulk.done, bulk.left) == ("stopped", 2, 3)
    assert "lacks the permission" in bulk.detail
    assert bulk.action is not None
    assert bulk.action.outcome == Outcome.FAILED


def test_it_stops_when_the_account_is_gone(ana: User) -> None:
    made(2)
    bulk = begun(ana, state="failed")
    ana.delete()
    assert act_on_some(bulk.pk, 2) == 0
    bulk.refresh_from_db()
    assert (bulk.state, bulk.detail) == ("stopped", "The account of ana is gone.")


def test_a_draft_is_seen_by_its_maker_alone_and_what_was_begun_by_all_who_reach_everything(
    ana: User,
) -> None:
    bo, near = member("bo", "operator"), member("near", "operator")
    Reach.objects.create(user=near, queues="high")
    made(2)
    bulk = previewed(ana, state="failed")
    assert [bulks.visible_to(user).count() for user in (ana, bo, near)] == [1, 0, 0]
    assert start(bo, bulk).refusal == "missing"
    start(ana, bulk)
    assert [bulks.visible_to(user).count() for user in (ana, bo, near, member("nobody"))] == [1, 1, 0, 0]
    assert perform(Actor(near, "page"), BulkAbort(bulk.pk)).refusal == "missing"
    assert perform(Actor(bo, "page"), BulkPause(bulk.pk)).outcome == Outcome.DONE


def test_nothing_goes_on_while_the_installation_is_read_only(ana: User, settings: Any) -> None:
    made(2)
    bulk = begun(ana, state="failed")
    settings.READ_ONLY = True
    assert perform(Actor(ana, "page"), BulkAbort(bulk.pk)).refusal == "read_only"


# Pace, pause, end


def test_it_pauses_goes_on_and_ends_when_told(ana: User) -> None:
    made(6)
    bulk = begun(ana, state="failed")
    assert act_on_some(bulk.pk, 2) == 2
    assert perform(Actor(ana, "page"), BulkPause(bulk.pk)).outcome == Outcome.DONE
    assert act_on_some(bulk.pk, 2) == 0
    assert perform(Actor(ana, "page"), BulkPause(bulk.pk)).refusal == "state"
    assert perform(Actor(ana, "page"), BulkResume(bulk.pk)).outcome == Outcome.DONE
    assert act_on_some(bulk.pk, 2) == 2
    assert perform(Actor(ana, "page"), BulkAbort(bulk.pk)).outcome == Outcome.DONE
    assert act_on_some(bulk.pk, 2) == 0
    bulk.refresh_from_db()
    assert (bulk.state, bulk.done, bulk.left) == ("aborted", 4, 2)
    assert perform(Actor(ana, "page"), BulkResume(bulk.pk)).refusal == "state"
    assert perform(Actor(ana, "page"), BulkAbort(bulk.pk)).refusal == "state"


@pytest.mark.parametrize("rate", [0.5, 7.0, 200.0])
def test_a_pace_allows_no_more_than_its_rate_in_any_second(rate: float) -> None:
    pace, moments = Pace(0.0), []
    for tick in range(400):
        now = tick * 0.25
        due = pace.due(rate, now)
        pace.took(due)
        moments += [now] * due
    assert len(moments) == pytest.approx(rate * 99.75, abs=1)
    for begin in range(99):
        assert sum(begin <= at < begin + 1 for at in moments) <= rate + 1


def test_what_was_not_used_is_not_saved_up() -> None:
    pace = Pace(0.0)
    assert pace.due(10.0, 3600.0) == 10


def test_no_heap_is_made_while_the_broker_is_away(ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acting, "FEWEST_AHEAD", 4)
    monkeypatch.setattr(acting, "AHEAD_SECONDS", 0.0)
    made(20)
    bulk = begun(ana, state="failed")
    taken = [act_on_some(bulk.pk, 3) for _ in range(4)]
    assert taken == [3, 3, 0, 0]
    Outgoing.objects.all().delete()
    assert act_on_some(bulk.pk, 3) == 3


def test_the_runner_does_as_many_as_the_rate_allows(ana: User) -> None:
    made(30)
    bulk = previewed(ana, state="failed")
    start(ana, bulk, rate=8.0)
    runner = BulkRunner(lambda: True)
    done = []
    for tick in range(9):
        runner.work(tick * 0.25)
        bulk.refresh_from_db()
        done.append(bulk.done)
    assert done == [0, 2, 4, 6, 8, 10, 12, 14, 16]


# What became of them


def test_a_job_that_changed_meanwhile_is_left_alone_with_the_reason(ana: User) -> None:
    jobs = made(4)
    bulk = begun(ana, state="failed")
    Job.objects.filter(pk=jobs[0].pk).update(state="running")
    Payload.objects.filter(pk=jobs[1].pk).update(body=None, withheld="redacted")
    Job.objects.filter(pk=jobs[2].pk).delete()
    bulk = worked(bulk)
    assert outcomes(bulk) == {"done": 1, "refused": 3}
    assert (bulk.done, bulk.refused, bulk.state) == (1, 3, "finished")
    assert all(BulkItem.objects.filter(outcome="refused").values_list("detail", flat=True))


def test_what_became_of_the_new_jobs_is_counted_once(ana: User) -> None:
    made(6)
    bulk = worked(begun(ana, state="failed"))
    came(bulk, failed=2, succeeded=3)
    follow(bulk, 0)
    bulk.refresh_from_db()
    assert (bulk.succeeded, bulk.failed_again, bulk.ended) == (3, 2, 5)


def test_it_stops_by_itself_when_too_many_fail_again(ana: User) -> None:
    made(200)
    bulk = begun(ana, state="failed")
    act_on_some(bulk.pk, 100)
    came(bulk, failed=18, succeeded=1)
    assert not stop_if_it_goes_wrong(bulk), "nineteen are too few to judge by"
    came(bulk, failed=1, succeeded=0)
    assert stop_if_it_goes_wrong(bulk)
    bulk.refresh_from_db()
    assert (bulk.state, bulk.detail) == ("stopped", "95% of the latest jobs failed again.")
    assert act_on_some(bulk.pk, 10) == 0
    assert not stop_if_it_goes_wrong(bulk)


def test_it_goes_on_while_the_failures_are_as_few_as_was_allowed(ana: User) -> None:
    made(200)
    bulk = previewed(ana, state="failed")
    start(ana, bulk, stop_share=0.95)
    act_on_some(bulk.pk, 100)
    bulk.refresh_from_db()
    came(bulk, failed=19, succeeded=1)
    assert not stop_if_it_goes_wrong(bulk)


def test_the_latest_decide_even_after_many_successes(ana: User) -> None:
    made(400)
    bulk = begun(ana, state="failed")
    for _ in range(3):
        act_on_some(bulk.pk, 100)
        Outgoing.objects.all().delete()
    came(bulk, failed=0, succeeded=240)
    assert not stop_if_it_goes_wrong(bulk)
    came(bulk, failed=60, succeeded=0)
    assert stop_if_it_goes_wrong(bulk)


def test_what_was_revoked_is_confirmed_by_the_record(ana: User) -> None:
    jobs = made(3, state="queued")
    bulk = worked(begun(ana, "revoke", state="queued"))
    assert (bulk.state, bulk.ended) == ("finished", 0)
    Job.objects.filter(pk=jobs[0].pk).update(state="revoked")
    Job.objects.filter(pk=jobs[1].pk).update(state="succeeded")
    follow(bulk, 0)
    bulk.refresh_from_db()
    assert (bulk.revoked, bulk.succeeded) == (1, 1)


def test_what_waits_long_does_not_hide_what_has_ended(ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.bulk.following.MOST", 3)
    jobs = made(8, state="queued")
    bulk = worked(begun(ana, "revoke", state="queued"))
    Job.objects.filter(pk=jobs[-1].pk).update(state="revoked")
    place, places = 0, []
    for _ in range(4):
        place = follow(bulk, place)
        places.append(place)
    assert places == [jobs[2].pk, jobs[5].pk, 0, jobs[2].pk]
    bulk.refresh_from_db()
    assert bulk.revoked == 1


def test_an_old_preview_is_forgotten_and_a_begun_bulk_stays(ana: User) -> None:
    from jobs.forgetting import forget_rows, rows_over
    from jobs.retention import Retention

    made(2)
    previewed(ana, state="failed")
    kept = worked(begun(ana, state="failed"))
    for rows in rows_over(Retention(), timezone.now() + timedelta(days=2)):
        while forget_rows(rows, 1):
            pass
    assert [*Bulk.objects.values_list("pk", flat=True)] == [kept.pk]
    assert BulkItem.objects.count() == 2
    assert Bulk.objects.get().state == BulkState.FINISHED


def test_a_body_with_half_a_surrogate_pair_is_retried_with_the_others(ana: User) -> None:
    made(1)
    made(1, body=BODY.replace("7", r'"half \ud83d"'))
    bulk = worked(begun(ana, state="failed"))
    assert (bulk.state, bulk.done) == ("finished", 2)


def test_a_job_of_which_no_message_can_be_made_costs_the_others_nothing(
    ana: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = made(3)

    def without_json(job: Job, *more: Any) -> Message:
        message = retry_message(job, *more)
        return replace(message, headers={"odd": object()}) if job == jobs[1] else message

    monkeypatch.setattr("workers.bulk.deeds.retry_message", without_json)
    bulk = worked(begun(ana, state="failed"))
    assert (bulk.state, bulk.done, bulk.failed) == ("finished", 2, 1)
    assert "TypeError" in bulk.items.get(job_id=jobs[1].pk).detail


@pytest.mark.parametrize("step", ["gather", "act_on_some", "follow"])
def test_what_is_wrong_with_one_bulk_keeps_no_other_waiting(
    ana: User, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    for queue in ("a", "b"):
        made(1, queue=queue)
        begun(ana, queue=queue)
        perform(Actor(ana, "page"), BulkPreview("retry", queue=queue))
    Bulk.objects.filter(state=BulkState.DRAFT).update(frozen_at=None)
    Bulk.objects.filter(state=BulkState.RUNNING).update(done=1)
    asked = []

    def broken(bulk: Bulk | int, *more: Any) -> int:
        asked.append(bulk)
        raise ValueError("this one is odd")

    monkeypatch.setattr(f"workers.monitor.bulks.{step}", broken)
    runner = BulkRunner(lambda: True)
    for now in (0.0, 1.0):
        runner.work(now)
    assert len(set(asked)) == 2


def test_a_database_that_is_away_is_no_fault_of_a_bulk(ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    made(1)
    begun(ana, state="failed")
    monkeypatch.setattr("workers.monitor.bulks.act_on_some", Mock(side_effect=OperationalError))
    runner = BulkRunner(lambda: True)
    runner.work(0.0)
    with pytest.raises(OperationalError):
        runner.work(1.0)


def test_of_a_job_and_its_retry_that_failed_too_a_filter_takes_the_retry(ana: User) -> None:
    (job,) = made(1)
    Job.objects.create(
        task_id="again", retry_of=job.task_id, state="failed", task=job.task, queue=job.queue,
        seen_at=timezone.now(),
    )  # fmt: skip
    bulk = previewed(ana, state="failed")
    assert dict(bulk.items.values_list("task_id", "outcome")).get(job.task_id) == "refused"
    reasons = Preview.read(bulk.preview).reasons
    assert reasons["It was retried already, and the retry failed: retry that one."] == 1


def test_an_error_that_cannot_be_is_no_filter_that_takes_all(ana: User) -> None:
    made(2)
    assert perform(Actor(ana, "page"), BulkPreview("retry", state="failed", error=0)).refusal == "set"


def test_what_a_bulk_has_retried_is_retried_by_no_other_until_it_has_failed_again(ana: User) -> None:
    jobs = made(4)
    first, second = begun(ana, state="failed"), begun(ana, state="failed")
    worked(first)
    assert outcomes(worked(second)) == {"refused": 4}, "asked for, and not heard of"
    assert perform(Actor(ana, "page"), Retry(jobs[0].task_id)).refusal == "asked"
    lives = zip(first.items.order_by("job_id"), ("failed", "revoked", "succeeded", "running"), strict=True)
    for item, state in lives:
        facts = {"state": state, "retry_of": item.task_id, "task": "again", "seen_at": timezone.now()}
        Job.objects.create(task_id=str(item.new_task_id), **facts)
    bulk = previewed(ana, jobs=tuple(job.task_id for job in jobs))
    assert (bulk.eligible, bulk.refused) == (2, 2)
    assert Preview.read(bulk.preview).reasons == {
        "It was retried already, and that has succeeded.": 1,
        "It is being retried already.": 1,
    }


def test_what_somebody_retries_singly_is_left_out_of_a_bulk(ana: User) -> None:
    jobs = made(2)
    assert perform(Actor(ana, "page"), Retry(jobs[0].task_id)).outcome == Outcome.ASKED
    assert previewed(ana, state="failed").eligible == 1
    assert previewed(ana, "revoke", state="failed").eligible == 0


def test_a_retry_in_bulk_that_was_lost_may_be_asked_for_again(ana: User) -> None:
    made(1)
    worked(begun(ana, state="failed"))
    assert previewed(ana, state="failed").eligible == 0
    Bulk.objects.update(started_at=timezone.now() - timedelta(days=2))
    assert previewed(ana, state="failed").eligible == 1


def test_the_tab_of_what_failed_again_lists_what_it_counts(ana: User) -> None:
    made(2)
    bulk = worked(begun(ana, state="failed"))
    for item, state in zip(bulk.items.all(), ("failed", "rejected"), strict=True):
        Job.objects.create(task_id=str(item.new_task_id), state=state, seen_at=timezone.now())
    follow(bulk, 0)
    bulk.refresh_from_db()
    assert bulk.failed_again == len(bulk_rows.rows(bulk, "again", 0, ana).shown) == 2
