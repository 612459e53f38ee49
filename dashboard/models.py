"""What the pages themselves keep: how often somebody has tried to sign in."""

from __future__ import annotations

from django.db import models


class SignInTries(models.Model):
    """Tries of one kind, until the moment from which they count anew. `key` is a hash, never a name."""

    key = models.CharField(max_length=64, primary_key=True)
    count = models.PositiveIntegerField(default=0)
    until = models.DateTimeField(db_index=True)
