"""Dead letters that wait for a decision."""

from __future__ import annotations

from django.db.models import Count

from jobs.alerts.shapes import DeadFacts
from jobs.models import DeadLetter
from jobs.models.dead import Settled


def read_dead_letters(cluster_id: int) -> list[DeadFacts]:
    """How many wait, by task and queue; one statement."""
    waiting = DeadLetter.objects.filter(cluster=cluster_id, settled=Settled.OPEN)
    counts = waiting.order_by().values_list("task", "queue").annotate(open=Count("*"))
    return [DeadFacts(task, queue, count) for task, queue, count in counts]
