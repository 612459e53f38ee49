"""Rows that know who may read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

    from jobs.scopes import Scope

# The fields by which a reach measures a row, task and queue; None where the row has none.
MEASURED_BY: dict[str, tuple[str | None, str | None]] = {
    "Job": ("task", "queue"),
    "Standing": ("task", "queue"),
    "Bucket": ("task", "queue"),
    "Attempt": ("job__task", "job__queue"),
    "Payload": ("job__task", "job__queue"),
    "QueueSample": (None, "queue"),
    "DeadLetter": ("task", "queue"),
    "Error": ("task", "queue"),
    "ErrorJob": ("job__task", "job__queue"),
    "Worker": (None, None),
    "WorkerSample": (None, None),
    "Gap": (None, None),
}


class Visible(models.QuerySet[Any]):
    """Each read on somebody's behalf goes through one of these two."""

    def visible_to(self, user: AbstractBaseUser | AnonymousUser) -> Visible:
        """What `user` may read."""
        # The measure of a row is made of the rows of Reach, which is a model, too.
        from jobs.scopes import scope_of

        scope = scope_of(user)
        return self.none() if scope is None else self.within(scope)

    def within(self, scope: Scope) -> Visible:
        """What a scope shows."""
        if self.model.__name__ == "Payload" and not scope.payload:
            return self.none()
        return self.filter(scope.rows(*MEASURED_BY[self.model.__name__]))
