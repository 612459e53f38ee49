"""What programs come in with: tokens of accounts, and the answers that they may ask for twice."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.contrib.auth.models import User
from django.db import models

from jobs.models.people import Action


class Token(models.Model):
    """A secret with which a program acts for `user`, with these permissions and no more than the user's own.

    Only the secret's SHA-256 (`digest`) and its first letters (`prefix`) are kept.
    `permissions` are names with commas between them. In the minute since the epoch
    `minute`, web processes have taken `used` requests of those it may make.
    """

    id = models.BigAutoField(primary_key=True)
    user = models.ForeignKey(User, models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=64)
    prefix = models.CharField(max_length=12, unique=True)
    digest = models.CharField(max_length=64, unique=True)
    permissions = models.CharField(max_length=1000)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    minute = models.BigIntegerField(default=0)
    used = models.PositiveIntegerField(default=0)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.prefix}… {self.name}"

    @property
    def granted(self) -> frozenset[str]:
        """The names of its permissions."""
        return frozenset(self.permissions.split(","))

    def holds(self, now: datetime) -> bool:
        """Whether it is still good."""
        return self.revoked_at is None and now < self.expires_at


class Answer(models.Model):
    """What a program was told of an action that it asked for under a key of its own, to be told again."""

    action = models.OneToOneField(Action, models.PROTECT, primary_key=True, related_name="answer")
    at = models.DateTimeField(db_index=True)
    status = models.PositiveSmallIntegerField()
    body = models.TextField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.status} to action {self.action_id}"


class Bearer(User):
    """An account as one of its tokens shows it: never with more permissions than the token has."""

    token: ClassVar[Token]

    class Meta:
        proxy = True
        default_permissions = ()

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        return perm.rpartition(".")[2] in self.token.granted and super().has_perm(perm, obj)
