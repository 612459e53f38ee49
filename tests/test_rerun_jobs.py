"""A job lives twice: retried with the same body, or run again with another; and any task may be run."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import chord
from django.conf import settings
from django.contrib.auth.models import Group, Permission, User

from jobs.models import Action, Job, Outgoing, Payload, Reach
from jobs.models.people import Outcome
from jobs.perform import Actor, Settled, perform, settle
from nightdesk.messages import RETRY_OF
from nightdesk.redaction import HIDDEN
from tests import tasks
from tests.harness import Installation, eventually
from tests.working import lines
from workers.app import app
from workers.commands.jobs import Rerun, Retry, Run
from workers.followups import made_by
from workers.outbox import Letter
from workers.signatures import own_task_names, parameters, why_unfit

pytestmark = pytest.mark.django_db(transaction=True)
BODY = '[[1, 2], {},  {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'


@pytest.fixture
def ana(db: None) -> User:
    return User.objects.create_superuser("ana")


def recorded(**facts: Any) -> Job:
    """A job that has failed, with its body."""
    now = datetime.now(UTC)
    payload = {"args": "[1, 2]", "kwargs": "{}", "body": BODY, "withheld": None}
    payload |= {name: facts.pop(name) for name in list(facts) if name in payload}
    told = {
        "task_id": "first",
        "task": "tests.tasks.add",
        "queue": "default",
        "state": "failed",
        "priority": 7,
    }
    job = Job.objects.create(**{**told, "seen_at": now, **facts})
    Payload.objects.create(job=job, **payload)
    return job


def act(by: User, command: Any) -> Action:
    return perform(Actor(by, "page"), command)


def outgoing() -> tuple[Outgoing, dict[str, Any]]:
    row = Outgoing.objects.get()
    return row, json.loads(row.headers)


def test_a_retry_sends_the_same_bytes_as_a_new_job(ana: User) -> None:
    recorded(root_id="root", parent_id="parent", group_id="group")
    action = act(ana, Retry("first"))
    row, headers = outgoing()
    assert (row.body, row.task, row.queue, row.priority) == (BODY, "tests.tasks.add", "default", 7)
    assert row.task_id == headers["id"] == made_by(action) != "first"
    assert (headers[RETRY_OF], headers["root_id"]) == ("first", "root")
    assert (headers["parent_id"], headers["group"], headers["retries"]) == (None, None, 0)
    assert Job.objects.get().state == "failed", "the first one stays as it is"


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"state": "running"}, "open"),
        ({"state": "scheduled"}, "open"),
        ({"body": None, "withheld": "redacted"}, "withheld"),
        ({"body": None, "withheld": "too large"}, "withheld"),
        ({"body": None, "withheld": "not captured"}, "withheld"),
        ({"task": None}, "unknown"),
        ({"queue": None}, "unknown"),
        ({"task": "a" * 254 + "…"}, "unknown"),
    ],
)
def test_a_retry_that_would_not_be_the_same_is_refused(ana: User, facts: dict[str, Any], code: str) -> None:
    recorded(**facts)
    action = act(ana, Retry("first"))
    assert (action.outcome, action.refusal) == (Outcome.REFUSED, code)
    assert not Outgoing.objects.exists()


def test_what_the_record_does_not_hold_can_not_be_retried(ana: User) -> None:
    assert act(ana, Retry("nowhere")).refusal == "missing"


def test_an_edited_job_keeps_what_was_not_edited(ana: User) -> None:
    recorded()
    later = datetime.now(UTC) + timedelta(hours=1)
    act(ana, Rerun("first", args=[3, 4], queue="low", priority=2, eta=later))
    row, headers = outgoing()
    assert json.loads(row.body)[:2] == [[3, 4], {}]
    assert (row.queue, row.priority, row.due_at) == ("low", 2, later)
    assert headers["eta"] == later.isoformat()
    assert headers[RETRY_OF] == "first"


def test_what_was_to_follow_an_edited_job_follows_it_still(ana: User) -> None:
    recorded(body='[[1, 2], {}, {"callbacks": [{"task": "tests.tasks.total"}], "chain": null}]')
    act(ana, Rerun("first", args=[3, 4]))
    assert json.loads(outgoing()[0].body)[2]["callbacks"] == [{"task": "tests.tasks.total"}]


@pytest.mark.parametrize(
    ("args", "kwargs", "why"),
    [
        ([1], {}, "missing a required argument: 'y'"),
        ([1, 2, 3], {}, "too many positional arguments"),
        ([1, 2], {"z": 3}, "unexpected keyword argument 'z'"),
        ([1, "two"], {}, "y must be a whole number."),
        ([1, True], {}, "y must be a whole number."),
        ([1, None], {}, "y must be a whole number."),
        ([1, HIDDEN], {}, "must be replaced by the real one"),
    ],
)
def test_arguments_that_the_task_does_not_take_are_refused(
    ana: User, args: list[Any], kwargs: dict[str, Any], why: str
) -> None:
    recorded()
    action = act(ana, Rerun("first", args=args, kwargs=kwargs))
    assert action.refusal == "arguments"
    assert why in action.detail
    assert not Outgoing.objects.exists()


def test_a_task_that_only_others_know_is_judged_by_the_shape_alone(ana: User) -> None:
    recorded(task="elsewhere.charge")
    assert act(ana, Rerun("first", args=["anything"], kwargs={"at": "all"})).refusal is None
    assert why_unfit("elsewhere.charge", {"no": "list"}, {}) == "args must be a list."


def test_arguments_nested_without_end_are_refused() -> None:
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    assert why_unfit("elsewhere.charge", [deep], {}) == "These are nested too deep."


def test_a_job_whose_arguments_are_not_known_whole_needs_all_of_them(ana: User) -> None:
    recorded(body=None, withheld="redacted")
    assert act(ana, Rerun("first", args=[1, 2])).refusal == "withheld"
    assert act(ana, Rerun("first", args=[1, 2], kwargs={})).refusal is None


def test_a_body_over_the_cap_is_refused(ana: User, settings: Any) -> None:
    recorded(task="elsewhere.charge")
    settings.JOB_BODY_CAP = 1_000
    assert act(ana, Rerun("first", args=["x" * 1_000], kwargs={})).refusal == "arguments"


def test_an_edited_job_goes_to_no_queue_beyond_reach() -> None:
    bo = User.objects.create_user("bo")
    bo.groups.set(Group.objects.filter(name="operator"))
    Reach.objects.create(user=bo, queues="default")
    recorded()
    assert act(bo, Rerun("first", queue="high")).refusal == "reach"
    assert act(bo, Rerun("first")).refusal is None


def test_only_who_may_runs_any_task(ana: User) -> None:
    bo = User.objects.create_user("bo")
    bo.groups.set(Group.objects.filter(name="operator"))
    assert act(bo, Run("tests.tasks.add", args=[1, 2])).refusal == "permission"
    assert act(ana, Run("tests.tasks.add", args=[1])).refusal == "arguments"
    assert act(ana, Run("nobody.knows.this")).refusal == "missing"
    assert act(ana, Run("celery.backend_cleanup")).refusal == "missing"
    action = act(ana, Run("tests.tasks.add", kwargs={"x": 1, "y": 2}))
    row, headers = outgoing()
    assert (row.queue, made_by(action)) == (settings.CELERY_TASK_DEFAULT_QUEUE, row.task_id)
    assert RETRY_OF not in headers


def test_the_tasks_to_run_are_those_of_the_program() -> None:
    names = own_task_names()
    assert "workers.demo.tasks.process_valuation" in names
    assert not [name for name in names if name.startswith("celery.")]


def test_a_form_knows_what_the_signature_tells() -> None:
    @app.task(name="tests.signature")
    def signature(
        a: int, b: str | None, *rest: float, c: bool = True, d: Any = None, **more: Any
    ) -> None: ...

    try:
        told = {
            one.name: (one.kind, one.optional, one.needed, one.gathers)
            for one in parameters("tests.signature")
        }
    finally:
        app.tasks.pop("tests.signature")
    assert told == {
        "a": ("whole number", False, True, ""),
        "b": ("text", True, True, ""),
        "rest": ("number", False, False, "*"),
        "c": ("yes or no", False, False, ""),
        "d": ("JSON", False, False, ""),
        "more": ("JSON", False, False, "**"),
    }


@pytest.fixture
def working(installation: Installation) -> Installation:
    installation.monitor()
    installation.worker()
    return installation


def test_a_second_life_is_confirmed_by_its_own_events(
    working: Installation, ana: User, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    action = act(ana, Run("tests.tasks.note", args=[str(ran), "run"]))
    assert action.outcome == Outcome.ASKED
    confirmed(action)
    first = Job.objects.get(task_id=made_by(action))
    eventually(lambda: Job.objects.filter(pk=first.pk, state="succeeded").exists(), 30)
    again = act(ana, Retry(first.task_id))
    confirmed(again)
    eventually(lambda: lines(ran) == ["run", "run"], 30)
    second = Job.objects.get(task_id=made_by(again))
    assert (second.retry_of, second.task, second.queue) == (first.task_id, first.task, first.queue)
    eventually(lambda: Payload.objects.filter(job=second).exists())
    assert Payload.objects.get(job=second).body == Payload.objects.get(job=first).body
    edited = act(ana, Rerun(first.task_id, args=[str(ran), "edited"]))
    confirmed(edited)
    eventually(lambda: lines(ran) == ["run", "run", "edited"], 30)


def confirmed(action: Action) -> None:
    def is_done() -> bool:
        action.refresh_from_db()
        return action.outcome == Outcome.DONE

    eventually(is_done, 30, lambda: f"{action}: {action.outcome} {action.detail}")


def test_a_retried_member_of_a_chord_is_not_counted_twice(
    working: Installation, ana: User, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    chord([tasks.add.s(1, 1), tasks.add.s(2, 2)])(tasks.total_noted.s(str(ran)))
    eventually(lambda: lines(ran) == ["body"], 30)
    member = eventually(lambda: Job.objects.filter(task=tasks.add.name, state="succeeded").first(), 30)
    assert member is not None
    again = act(ana, Retry(member.task_id))
    confirmed(again)
    eventually(lambda: Job.objects.filter(task_id=made_by(again), state="succeeded").exists(), 30)
    assert lines(ran) == ["body"]


@pytest.mark.parametrize("may_read", [True, False])
def test_the_audit_holds_what_a_job_carried_if_who_acts_may_read_it(may_read: bool) -> None:
    job = recorded()
    user = User.objects.create_user("eve")
    names = ["view_record", "retry_job", *(["view_payload"] if may_read else [])]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    action = perform(Actor(user, "page"), Rerun(job.task_id))
    assert ("args" in str(action.before)) is may_read


HALF = BODY.replace("1, 2", r'"half \ud83d", 2')


def test_half_a_surrogate_pair_is_sent_as_it_was(ana: User) -> None:
    recorded(body=HALF, args=None, kwargs=None, task="foreign.add")
    assert act(ana, Retry("first")).outcome == Outcome.ASKED
    row, _headers = outgoing()
    assert row.body == HALF
    assert Letter.of(row).body[0] == ["half \ud83d", 2]
    row.delete()
    assert act(ana, Rerun("first", args=["\ud83e", 2])).outcome == Outcome.ASKED
    assert Letter.of(outgoing()[0]).body[0] == ["\ud83e", 2]


@pytest.mark.parametrize("priority", [-1, 10, 100_000])
def test_a_priority_that_there_is_not_is_refused(ana: User, priority: int) -> None:
    recorded()
    assert act(ana, Rerun("first", priority=priority)).refusal == "priority"
    assert act(ana, Run("tests.tasks.add", args=[1, 2], priority=priority)).refusal == "priority"
    assert not Outgoing.objects.exists()


def test_a_job_is_not_retried_again_until_the_record_has_heard_of_its_retry(ana: User) -> None:
    recorded()
    first = act(ana, Retry("first"))
    assert act(ana, Retry("first")).refusal == "asked"
    Outgoing.objects.all().delete()
    assert act(ana, Retry("first")).refusal == "asked", "published, and not heard of"
    recorded(task_id=made_by(first), retry_of="first")
    assert act(ana, Retry("first")).outcome == Outcome.ASKED, "who presses now has seen how it ended"


def test_a_retry_that_was_given_up_may_be_asked_for_again(ana: User) -> None:
    recorded()
    settle(act(ana, Retry("first")), Settled(Outcome.FAILED))
    assert act(ana, Retry("first")).outcome == Outcome.ASKED
