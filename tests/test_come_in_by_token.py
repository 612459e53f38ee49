"""Programs come in with tokens, which do no more than their owners may, and end."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.test import Client

from jobs.models import Action, Reach, Token
from jobs.models.people import Outcome
from jobs.tokens import digest_of
from tests.api import Program, account, program, token_of

pytestmark = pytest.mark.django_db


def run(*words: str) -> str:
    out = StringIO()
    call_command("token", *words, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_a_token_opens_the_api() -> None:
    answer = program("viewer").get("/me")
    assert answer.status == 200
    assert answer.body["user"] == "viewer-of-programs"
    assert answer.body["permissions"] == ["view_record", "view_payload", "view_metrics"]


@pytest.mark.parametrize("secret", [None, "", "nd_wrong", "x" * 1_000, "ä b c"])
def test_without_a_good_token_nothing_is_told(secret: str | None) -> None:
    answer = Program(secret).get("/jobs")
    assert (answer.status, answer.body["code"]) == (401, "token")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_session_is_no_token(client: Client, ops: User) -> None:
    client.force_login(ops)
    assert client.get("/api/v1/jobs").status_code == 401
    assert client.post("/api/v1/commands/job.retry", "{}", "application/json").status_code == 401


def test_the_document_is_for_a_session_or_a_token(client: Client, ops: User) -> None:
    assert client.get("/api/v1/openapi.json").status_code == 401
    assert program("viewer").get("/openapi.json").body["openapi"].startswith("3.")
    client.force_login(ops)
    assert client.get("/api/v1/openapi.json").status_code == 200


def test_a_token_ends() -> None:
    soon = datetime.now(UTC) + timedelta(minutes=5)
    one = program("viewer", expires_at=soon)
    assert one.get("/me").status == 200
    with time_machine.travel(soon, tick=False):
        assert one.get("/me").status == 401


def test_a_revoked_token_is_good_for_nothing() -> None:
    secret, token = token_of(account("ana", "viewer"))
    account("root", "admin")
    assert "done" in run("revoke", token.prefix, "--as", "root")
    assert Program(secret).get("/me").status == 401
    with pytest.raises(CommandError, match="revoked already"):
        run("revoke", token.prefix, "--as", "root")


def test_a_closed_account_closes_its_tokens() -> None:
    secret, token = token_of(account("ana", "viewer"))
    User.objects.filter(pk=token.user_id).update(is_active=False)
    assert Program(secret).get("/me").status == 401


def test_a_token_does_less_than_its_owner_if_it_says_so() -> None:
    one = program("admin", "view_record")
    assert one.get("/me").body["permissions"] == ["view_record"]
    assert one.get("/actions").status == 403
    assert one.do("task.run", task="any").status in (403, 404)


def test_a_superusers_token_does_no_more_than_it_says(ops: User) -> None:
    secret, _ = token_of(ops, "view_record")
    assert Program(secret).get("/me").body["permissions"] == ["view_record"]
    assert Program(secret).get("/actions").status == 403


def test_a_token_never_does_more_than_its_owner() -> None:
    secret, token = token_of(account("ana", "operator"), "view_record", "retry_job", "run_task")
    assert Program(secret).get("/me").body["permissions"] == ["view_record", "retry_job"]
    token.user.groups.set(Group.objects.filter(name="viewer"))
    assert Program(secret).get("/me").body["permissions"] == ["view_record"]


def test_a_token_reaches_as_far_as_its_owner(django_assert_max_num_queries: Any) -> None:
    secret, token = token_of(account("ana", "viewer"))
    Reach.objects.create(user=token.user, queues="high")
    told = Program(secret).get("/queues").body["queues"]
    assert {queue["name"] for queue in told} <= {"high"}


def test_use_is_noted_once_a_minute() -> None:
    secret, token = token_of(account("ana", "viewer"))
    start = datetime(2026, 11, 22, 5, 0, 30, tzinfo=UTC)
    Token.objects.update(expires_at=start + timedelta(days=1))
    for second, noted in ((0, 0), (30, 0), (61, 61)):
        with time_machine.travel(start + timedelta(seconds=second), tick=False):
            Program(secret).get("/me")
            token.refresh_from_db()
            assert token.last_used_at == start + timedelta(seconds=noted)


def test_a_token_is_made_and_its_secret_is_kept_nowhere() -> None:
    account("root", "admin")
    account("ana", "operator")
    secret = run("create", "--user", "ana", "--as", "root", "--name", "deploy", "--role", "operator").strip()
    token = Token.objects.get()
    assert Program(secret).get("/me").body["user"] == "ana"
    assert (token.name, token.digest, secret.startswith(token.prefix)) == ("deploy", digest_of(secret), True)
    made = Action.objects.get(command="token.make")
    assert (made.who, made.target, made.outcome) == ("root", token.prefix, Outcome.DONE)
    kept = " ".join(str(value) for row in (token, made) for value in vars(row).values())
    assert secret not in kept
    assert token.digest not in made.arguments


def test_a_token_wider_than_its_owner_is_not_made() -> None:
    account("root", "admin")
    account("ana", "viewer")
    with pytest.raises(CommandError, match="more than its owner"):
        run("create", "--user", "ana", "--as", "root", "--name", "x", "--permission", "run_task")
    assert not Token.objects.exists()


def test_who_may_not_make_tokens_makes_none() -> None:
    account("ana", "operator")
    with pytest.raises(CommandError, match="permission"):
        run("create", "--user", "ana", "--name", "x", "--role", "viewer")
    assert not Token.objects.exists()
    assert Action.objects.get(command="token.make").refusal == "permission"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--days", "0"], "from 1 to"),
        (["--days", "400"], "from 1 to"),
        (["--name", " "], "needs a name"),
        (["--name", "a\x1b[31mb"], "needs a name"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], why: str) -> None:
    account("root", "admin")
    with pytest.raises(CommandError, match=why):
        run("create", "--user", "root", "--name", "x", "--role", "viewer", *words)


def test_a_role_gives_as_much_as_the_owner_has() -> None:
    root = account("root", "admin")
    root.groups.add(Group.objects.get(name="viewer"))
    account("ana", "viewer")
    run("create", "--user", "ana", "--as", "root", "--name", "x", "--role", "admin")
    assert Token.objects.get().granted == {"view_record", "view_payload", "view_metrics"}


def test_tokens_are_listed_without_their_secrets() -> None:
    secret, token = token_of(account("ana", "viewer"))
    token_of(account("bo", "viewer"), revoked_at=datetime.now(UTC))
    listed = run("list")
    assert re.search(rf"{re.escape(token.prefix)}\s+ana", listed)
    assert secret not in listed
    assert token.digest not in listed
    assert "bo" not in listed
    assert "bo" in run("list", "--all")
