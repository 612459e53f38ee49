"""Programs and people on the command line do what people do on pages: one door, the same rules."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from io import StringIO
from typing import Any, ClassVar

import orjson
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import DataError, OperationalError
from django.utils import timezone

from dashboard.api.problems import of_fault
from dashboard.management.commands.act import Command as ActCommand
from dashboard.terminal import as_json, printable
from jobs.models import Action, Job, Outgoing, Payload, Reach
from jobs.models.people import Outcome
from jobs.perform import Actor, perform, registered
from tests.api import Program, account, program, token_of
from workers.commands.jobs import Rerun

pytestmark = pytest.mark.django_db


@pytest.fixture
def job() -> Job:
    """One that failed, and can be retried."""
    now = timezone.now()
    job = Job.objects.create(
        task_id="t-1", task="workers.demo.tasks.send_reminder", queue="high", state="failed", seen_at=now,
        published_at=now - timedelta(seconds=5), ended_at=now, exception="ValueError: \x1b[31mred\n",
    )  # fmt: skip
    Payload.objects.create(job=job, args="[1]", kwargs="{}", body='[[1], {}, {"chain": null}]')
    return job


def run(*words: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def test_a_program_retries_a_job(job: Job) -> None:
    answer = program("operator").do("job.retry", task_id="t-1", reason="the partner is back")
    assert (answer.status, answer.body["outcome"]) == (202, "asked")
    action = Action.objects.get()
    assert (action.via, action.reason, action.who) == ("api", "the partner is back", "operator-of-programs")
    assert Outgoing.objects.get().body == '[[1], {}, {"chain": null}]'
    asked = program("operator").get(answer.headers["Location"].removeprefix("/api/v1"))
    assert asked.body == answer.body


def test_who_did_it_may_ask_what_came_of_it_without_the_audit(job: Job) -> None:
    one = program("operator", "view_record", "retry_job")
    answer = one.do("job.retry", task_id="t-1")
    assert one.get(f"/actions/{answer.body['id']}").status == 200


@pytest.mark.parametrize(
    ("role", "fields", "status", "code"),
    [
        ("viewer", {"task_id": "t-1"}, 403, "permission"),
        ("operator", {"task_id": "none"}, 404, "missing"),
        ("operator", {"task_id": "t-1", "cluster_id": 77}, 404, "missing"),
    ],
)
def test_a_refusal_is_a_problem(job: Job, role: str, fields: dict[str, Any], status: int, code: str) -> None:
    answer = program(role).do("job.retry", **fields)
    assert (answer.status, answer.body["code"]) == (status, code)
    assert not Outgoing.objects.exists()


def test_a_refusal_as_things_stand_is_a_conflict_and_names_its_action(job: Job) -> None:
    Job.objects.update(state="running")
    answer = program("operator").do("job.retry", task_id="t-1")
    assert (answer.status, answer.body["code"]) == (409, "open")
    assert Action.objects.get(pk=answer.body["action"]).outcome == Outcome.REFUSED


def test_nothing_is_done_while_the_installation_is_read_only(job: Job, settings: Any) -> None:
    settings.READ_ONLY = True
    answer = program("admin").do("job.retry", task_id="t-1")
    assert (answer.status, answer.body["code"]) == (403, "read_only")
    assert program("admin").get("/jobs/t-1").status == 200


def test_beyond_the_reach_nothing_is_done(job: Job) -> None:
    secret, token = token_of(account("ana", "operator"))
    Reach.objects.create(user=token.user, queues="low")
    assert Program(secret).do("job.retry", task_id="t-1").status == 404
    assert not Outgoing.objects.exists()


def test_a_key_makes_a_repeated_request_one_action_with_one_answer(job: Job) -> None:
    one = program("operator")
    first = one.do("job.retry", "deploy-17", task_id="t-1")
    Action.objects.update(outcome=Outcome.SENT)
    again = one.do("job.retry", "deploy-17", task_id="t-1")
    assert (again.status, again.body) == (first.status, first.body)
    assert (first.headers.get("Idempotency-Replayed"), again.headers["Idempotency-Replayed"]) == (
        None,
        "true",
    )
    assert first.headers["Location"] == again.headers["Location"]
    assert (Action.objects.count(), Outgoing.objects.count()) == (1, 1)


def test_a_refusal_is_repeated_under_its_key_too(job: Job) -> None:
    Job.objects.update(state="running")
    one = program("operator")
    first = one.do("job.retry", "k", task_id="t-1")
    Job.objects.update(state="failed")
    again = one.do("job.retry", "k", task_id="t-1")
    assert (again.status, again.body, again.headers["Content-Type"]) == (
        409,
        first.body,
        "application/problem+json",
    )
    assert Action.objects.count() == 1


def test_a_key_for_something_else_is_refused(job: Job) -> None:
    one = program("operator")
    one.do("job.retry", "k", task_id="t-1")
    answer = one.do("job.revoke", "k", task_id="t-1")
    assert (answer.status, answer.body["code"]) == (422, "once")
    assert program("admin").do("job.rerun", "k", task_id="t-1").status == 202


@pytest.mark.parametrize("key", ["", "with space", "x" * 256, "ü"])
def test_a_key_is_plain_text_of_some_length(job: Job, key: str) -> None:
    answer = program("operator").do("job.retry", key, task_id="t-1")
    assert (answer.status, answer.body["code"]) == (422, "invalid")
    assert not Action.objects.exists()


def test_each_command_is_on_the_command_line() -> None:
    parser = ActCommand().create_parser("manage.py", "act")
    verbs = next(action for action in parser._actions if action.dest == "command_name")
    assert set(verbs.choices or ()) == set(registered.commands)


def test_the_command_line_comes_through_the_same_door(job: Job) -> None:
    account("ana", "operator")
    said = run("act", "job.retry", "--task-id", "t-1", "--as", "ana", "--reason", "by hand")
    assert "asked, not yet confirmed" in said
    action = Action.objects.get()
    assert (action.via, action.who, action.reason, action.address) == ("command line", "ana", "by hand", None)
    assert Outgoing.objects.count() == 1


def test_jobs_are_acted_on_by_their_verbs(job: Job) -> None:
    account("ana", "operator")
    told = orjson.loads(run("jobs", "retry", "t-1", "--as", "ana", "--json"))
    assert (told["command"], told["outcome"]) == ("job.retry", "asked")
    run("jobs", "rerun", "t-1", "--as", "ana", "--args", "[2]", "--priority", "9")
    assert [row.priority for row in Outgoing.objects.order_by("pk")][-1] == 9


def test_a_refusal_on_the_command_line_is_a_failure(job: Job) -> None:
    account("vi", "viewer")
    with pytest.raises(CommandError, match="permission"):
        run("jobs", "retry", "t-1", "--as", "vi")
    assert Action.objects.get().refusal == "permission"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--as", "nobody"], "no account"),
        (["--as", "ana", "--cluster-id", "x"], "cluster_id"),
        (["--as", "ana", "--cluster-id", "77"], "no such cluster"),
        (["--as", "ana", "--once", "k" * 65], "1 to 64"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_line(job: Job, words: list[str], why: str) -> None:
    account("ana", "operator")
    with pytest.raises(CommandError, match=why) as told:
        run("act", "job.retry", "--task-id", "t-1", *words)
    assert "\n" not in str(told.value)


def test_nobody_is_named_by_default(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NIGHTDESK_USER", raising=False)
    with pytest.raises(CommandError, match="on whose behalf"):
        run("jobs", "retry", "t-1")
    account("ana", "operator")
    monkeypatch.setenv("NIGHTDESK_USER", "ana")
    assert "asked" in run("jobs", "retry", "t-1")


def test_jobs_are_listed_and_shown_as_far_as_one_may_see(job: Job) -> None:
    account("vi", "viewer")
    listed = run("jobs", "list", "--as", "vi", "--queue", "high")
    assert "t-1" in listed
    shown = run("jobs", "show", "t-1", "--as", "vi")
    assert "workers.demo.tasks.send_reminder" in shown
    assert "[1]" in shown
    account("nobody")
    assert "t-1" not in run("jobs", "list", "--as", "nobody")
    with pytest.raises(CommandError, match="beyond the reach"):
        run("jobs", "show", "t-1", "--as", "nobody")


def test_what_a_job_carries_does_nothing_to_a_terminal(job: Job) -> None:
    account("vi", "viewer")
    for words in (["list"], ["list", "--json"], ["show", "t-1"], ["show", "t-1", "--json"]):
        said = run("jobs", *words, "--as", "vi")
        assert "\x1b" not in said
        assert all(line.isprintable() for line in said.splitlines()), words
    assert orjson.loads(run("jobs", "show", "t-1", "--as", "vi", "--json"))["exception"] == job.exception


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plain ü 日本 \N{GRINNING FACE}", "plain ü 日本 \N{GRINNING FACE}"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\r\n[CRITICAL] fake", "a\\r\\n[CRITICAL] fake"),
        ("\u202eright to left\u2066", "\\u202eright to left\\u2066"),
        ("\x9b31m", "\\x9b31m"),
    ],
)
def test_letters_that_command_a_terminal_are_written_out(text: str, said: str) -> None:
    assert printable(text) == said


def test_json_for_a_terminal_is_still_the_same_json() -> None:
    text = "\x1b \u202e \x7f \x9b \U000e0001 ü"
    assert as_json(text).isprintable()
    assert orjson.loads(as_json(text)) == text


@dataclasses.dataclass(frozen=True)
class Ring:
    """Ring a bell, as often as is said."""

    name: ClassVar[str] = "test.ring"
    permission: ClassVar[str] = "retry_job"
    bell: str
    times: int | None = None
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)
    loud: bool = False

    def subject(self, user: User) -> Any:
        raise NotImplementedError

    def execute(self, action: Action) -> Any:
        raise NotImplementedError


@pytest.fixture
def new_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that nobody has thought of before."""
    monkeypatch.setitem(registered.commands, Ring.name, Ring)


def test_a_new_command_is_on_the_command_line_at_once(new_command: None) -> None:
    parser = ActCommand().create_parser("manage.py", "act")
    words = ["test.ring", "--bell", "high", "--times", "3", "--notes", '{"a": 1}', "--loud", "true"]
    read = parser.parse_args(words)
    assert (read.field_bell, read.field_times) == ("high", "3")


EDGES = ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00")


@pytest.mark.parametrize("moment", EDGES)
def test_an_impossible_moment_is_said_to_be_so(job: Job, moment: str) -> None:
    one = program("admin")
    assert one.do("job.rerun", task_id="t-1", eta=moment).body["code"] == "moment"
    assert one.do("queue.pause", queue="high", until=moment).body["code"] == "moment"
    for end in ("since", "until"):
        assert one.get("/actions", **{end: moment}).status == 200
        assert one.get("/stats", **{end: moment}).status in (200, 422)
    assert not Action.objects.exists()


def test_an_answer_is_repeated_as_far_as_the_token_may_read(job: Job) -> None:
    ana = account("ana", "operator")
    wide, narrow = Program(token_of(ana)[0]), Program(token_of(ana, "view_record", "retry_job")[0])
    fields = {"task_id": "t-1", "args": [4711], "kwargs": {}}
    assert "4711" in str(wide.do("job.rerun", key="a-key", **fields).body)
    again = narrow.do("job.rerun", key="a-key", **fields)
    assert (again.status, again.headers["Idempotency-Replayed"]) == (202, "true")
    assert (again.body["arguments"], again.body["before"], again.body["after"]) == (None, None, None)
    assert "4711" in str(wide.do("job.rerun", key="a-key", **fields).body)


def test_an_action_with_half_a_surrogate_pair_is_told(job: Job) -> None:
    ana = account("ana", "admin")
    perform(Actor(ana, "page"), Rerun("t-1", args=["\ud83e"]))
    old = perform(Actor(ana, "page"), Rerun("t-1", args=[2]))
    Action.objects.filter(pk=old.pk)._update_open(arguments=r'{"args":["\ud83e"]}')
    told = Program(token_of(ana)[0]).get("/actions")
    assert [action["arguments"]["args"] for action in told.body["actions"]] == [["?"], ["?"]]


@pytest.mark.parametrize("priority", [-5, 100_000, 2**53 - 1])
def test_a_priority_that_there_is_not_is_a_conflict(job: Job, priority: int) -> None:
    answer = program("operator").do("job.rerun", task_id="t-1", priority=priority)
    assert (answer.status, answer.body["code"]) == (409, "priority")


def test_what_no_column_can_hold_is_no_outage() -> None:
    assert of_fault(DataError("out of range")).status == 500
    assert of_fault(OperationalError("away")).status == 503
