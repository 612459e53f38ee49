"""Programs that come to the API: tokens made for a test, and requests as a program sends them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from django.contrib.auth.models import Group, User
from django.test import Client

from jobs import access
from jobs.models import Token
from jobs.tokens import SHOWN, digest_of, new_secret

NEVER = datetime(2100, 1, 1, tzinfo=UTC)


def account(name: str, role: str = "") -> User:
    """An account in the group of a role, if any."""
    user, made = User.objects.get_or_create(username=name)
    if made and role:
        user.groups.add(Group.objects.get(name=role))
    return user


def token_of(user: User, *permissions: str, **facts: Any) -> tuple[str, Token]:
    """A token with these permissions, else with all that the account has; with its secret."""
    secret = new_secret()
    granted = permissions or [name for name in access.PERMISSIONS if access.has(user, name)]
    told = {"created_at": datetime.now(UTC), "expires_at": datetime.now(UTC) + timedelta(days=1), **facts}
    token = Token.objects.create(
        user=user,
        name="a test",
        prefix=secret[:SHOWN],
        digest=digest_of(secret),
        permissions=",".join(granted),
        **told,
    )
    return secret, token


@dataclass(frozen=True)
class Answer:
    """What came back: `body` is what was in it."""

    status: int
    headers: Any
    body: Any


@dataclass(frozen=True)
class Program:
    """One that has a token, or none."""

    secret: str | None

    def get(self, path: str, **query: Any) -> Answer:
        return self.ask("GET", path, query=query)

    def do(self, command: str, key: str | None = None, **fields: Any) -> Answer:
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.ask("POST", f"/commands/{command}", orjson.dumps(fields), headers=headers)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        kind: str = "application/json",
    ) -> Answer:
        """One request below /api/v1."""
        sent = {**(headers or {}), **({"Authorization": f"Bearer {self.secret}"} if self.secret else {})}
        response = Client(raise_request_exception=False).generic(
            method, f"/api/v1{path}", body, kind, headers=sent, query_params=query or {}
        )
        text = response.content
        return Answer(response.status_code, response.headers, orjson.loads(text) if text else None)


def program(role: str, *permissions: str, **facts: Any) -> Program:
    """A program with a token of somebody in this role."""
    return Program(token_of(account(f"{role}-of-programs", role), *permissions, **facts)[0])
