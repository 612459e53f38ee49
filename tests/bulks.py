"""Jobs with what they carry, and bulks of them as people make them."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, User
from django.utils import timezone

from jobs.models import Action, Bulk, Job, Outgoing, Payload, Standing
from jobs.models.people import Outcome
from jobs.perform import Actor, perform
from workers.bulk import gathering
from workers.bulk.acting import act_on_some
from workers.bulk.following import follow
from workers.commands.bulk import BulkPreview, BulkStart

BODY = '[[7], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'


def made(count: int, *, body: str | None = BODY, **facts: Any) -> list[Job]:
    """Jobs as the monitor writes them, with what they carry."""
    before = Job.objects.count()
    facts = {"state": "failed", "task": "shop.pay", "queue": "high", **facts}
    made = Job.objects.bulk_create(
        Job(task_id=f"job-{before + number}", seen_at=timezone.now(), priority=5, **facts)
        for number in range(count)
    )
    Payload.objects.bulk_create(
        Payload(job=job, body=body, withheld=None if body else "redacted") for job in made
    )
    Standing.objects.bulk_create(
        Standing(job=job, state=job.state, task=job.task, queue=job.queue)
        for job in made
        if job.state != "succeeded"
    )
    return made


def member(name: str, *roles: str) -> User:
    user = User.objects.create_user(name)
    user.groups.set(Group.objects.filter(name__in=roles))
    return user


def previewed(user: User, deed: str = "retry", **chosen: Any) -> Bulk:
    """The frozen set that a preview makes."""
    action = perform(Actor(user, "page"), BulkPreview(deed, **chosen))
    assert action.outcome == Outcome.DONE, action.detail
    bulk = Bulk.objects.get(asked=action)
    while bulk.frozen_at is None:
        bulk = gathering.gather(bulk, user)
    return bulk


def start(user: User, bulk: Bulk, **wanted: Any) -> Action:
    wanted = {"confirm": bulk.eligible, "rate": 500.0, **wanted}
    return perform(Actor(user, "page"), BulkStart(bulk.pk, **wanted), reason="the partner is back")


def begun(user: User, deed: str = "retry", **chosen: Any) -> Bulk:
    bulk = previewed(user, deed, **chosen)
    assert start(user, bulk).outcome == Outcome.ASKED
    bulk.refresh_from_db()
    return bulk


def worked(bulk: Bulk) -> Bulk:
    """The bulk after all of it was acted on."""
    while act_on_some(bulk.pk, 100):
        Outgoing.objects.all().delete()  # as the outbox does when it has published
    bulk.refresh_from_db()
    return bulk


def came(bulk: Bulk, failed: int, succeeded: int) -> None:
    """So many of the new jobs end, in the order in which they were made."""
    waiting = bulk.items.filter(outcome="done", came=None).order_by("job_id")[: failed + succeeded]
    ends = ["failed"] * failed + ["succeeded"] * succeeded
    for item, state in zip(waiting, ends, strict=True):
        Job.objects.create(task_id=str(item.new_task_id), state=state, seen_at=timezone.now())
    assert follow(bulk, 0) == 0
    bulk.refresh_from_db()
