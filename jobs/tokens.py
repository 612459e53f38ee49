"""Tokens of the API: made and revoked through the one door, known again by their hash."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from django.contrib.auth.models import User
from django.db.models import Q
from django.utils.translation import gettext as _

from jobs import access
from jobs.models import Action
from jobs.models.people import Outcome
from jobs.models.tokens import Bearer, Token
from jobs.perform import Refused, Settled, Subject

SHAPE = "nd_"
SHOWN = len(SHAPE) + 7
LONGEST_LIFE = 366
SEEN_EVERY = timedelta(minutes=1)


def new_secret() -> str:
    """A secret nobody can guess: 256 bits."""
    return SHAPE + secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    """What is kept of a secret. It needs no salt and no slow hash: there is nothing to guess."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def bearer_of(secret: str, now: datetime) -> Bearer | None:
    """The account that a secret stands for, as far as its token allows; None if it is good for nothing."""
    token = Token.objects.filter(digest=digest_of(secret)).first()
    if token is None or not token.holds(now):
        return None
    bearer = Bearer.objects.filter(pk=token.user_id, is_active=True).first()
    if bearer is not None:
        bearer.token = token  # type: ignore[misc]
        _note_use(token, now)
    return bearer


def _note_use(token: Token, now: datetime) -> None:
    """At most one write a minute."""
    if token.last_used_at is None or now - token.last_used_at >= SEEN_EVERY:
        Token.objects.filter(pk=token.pk).update(last_used_at=now)


@dataclass(frozen=True)
class MakeToken:
    """A token for the account `owner`, with a part of its permissions, for so many days.

    The secret is made by whoever asks, and shown by nobody else: only its
    first letters and its hash come here, and the hash stays out of the audit.
    """

    name: ClassVar[str] = "token.make"
    permission: ClassVar[str] = "make_token"
    owner: str
    label: str
    permissions: tuple[str, ...]
    days: int
    prefix: str
    secret_digest: str

    def subject(self, user: User) -> Subject:
        if not User.objects.filter(username=self.owner, is_active=True).exists():
            raise Refused("missing", _("There is no account of this name."))
        return Subject("token", self.prefix)

    def execute(self, action: Action) -> Settled:
        owner = User.objects.get(username=self.owner)
        self._check(owner)
        Token.objects.create(
            user=owner,
            name=self.label,
            prefix=self.prefix,
            digest=self.secret_digest,
            permissions=",".join(sorted(self.permissions)),
            created_at=action.at,
            expires_at=action.at + timedelta(days=self.days),
        )
        return Settled(Outcome.DONE)

    def _check(self, owner: User) -> None:
        if not 1 <= self.days <= LONGEST_LIFE:
            raise Refused("days", _("A token lasts from 1 to %(days)d days.") % {"days": LONGEST_LIFE})
        if not self.label.strip() or len(self.label) > 64 or not self.label.isprintable():
            raise Refused("name", _("A token needs a name of at most 64 characters."))
        if unknown := sorted(set(self.permissions) - set(access.PERMISSIONS)):
            raise Refused("unknown", _("There is no permission %(name)s.") % {"name": unknown[0]})
        if missing := sorted(name for name in self.permissions if not access.has(owner, name)):
            text = _("A token can't do more than its owner, who lacks %(name)s.")
            raise Refused("wider", text % {"name": missing[0]})
        if not self.permissions:
            raise Refused("nothing", _("A token without any permission is good for nothing."))


@dataclass(frozen=True)
class RevokeToken:
    """The token that begins with `prefix` is good for nothing any more."""

    name: ClassVar[str] = "token.revoke"
    permission: ClassVar[str] = "make_token"
    prefix: str

    def subject(self, user: User) -> Subject:
        token = Token.objects.filter(prefix=self.prefix).first()
        if token is None:
            raise Refused("missing", _("There is no token that begins with this."))
        return Subject("token", token.prefix, before={"revoked": token.revoked_at is not None})

    def execute(self, action: Action) -> Settled:
        if not Token.objects.filter(prefix=self.prefix, revoked_at=None).update(revoked_at=action.at):
            raise Refused("revoked", _("This token is revoked already."))
        return Settled(Outcome.DONE, after={"revoked": True})


def allowed_to(owner: User, role: str | None, names: list[str]) -> tuple[str, ...]:
    """The permissions of a role (as far as the owner has them), and those named."""
    of_role = [name for name in access.ROLES.get(role or "", ()) if access.has(owner, name)]
    return tuple(sorted({*of_role, *names}))


def still_good(now: datetime) -> Q:
    """Which tokens are."""
    return Q(revoked_at=None, expires_at__gt=now)
