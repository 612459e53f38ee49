"""Jobs that have killed whoever ran them so often that nobody runs them again."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from workers.retries import Permanent

# In a message: how often the process under its job was lost, as the worker's main process counted.
LOSSES = "nightdesk_losses"


class WorkersLost(Permanent):
    """A job isn't run: those who ran it before were lost. `jobs.deaths` knows it by its name."""


def losses_told(told: Any) -> int:
    """How many losses a message (or the request made of it) tells of."""
    losses = told.get(LOSSES)
    return losses if isinstance(losses, int) else 0


def is_poison(losses: int) -> bool:
    """Whether so many losses are enough."""
    return losses > int(settings.WORKER_LOST_RETRIES)
