"""What was said of a job as it was enqueued: its key, its tags, the object that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db.models import Model

from jobs.models import Cluster, Enqueued, Job, Tag, Visible


@dataclass(frozen=True)
class Noted:
    """What is to be kept beside a job; false if there is nothing."""

    key: str | None = None
    key_until: datetime | None = None
    tags: tuple[str, ...] = ()
    model: str | None = None
    object_id: str | None = None

    @classmethod
    def of(cls, key: str | None, until: datetime | None, tags: tuple[str, ...], about: Model | None) -> Noted:
        """Raises ValueError for an object that isn't saved yet."""
        if about is None:
            return cls(key, until, tags)
        if about.pk is None:
            raise ValueError(f"a {about._meta.label} that is not saved has no jobs")
        return cls(key, until, tags, about._meta.label_lower, str(about.pk))

    def __bool__(self) -> bool:
        return bool(self.key or self.tags or self.model)


def note(task_id: str, task: str, noted: Noted) -> str:
    """Keep it, in the transaction at hand; the id of the job that has the key: this one or an earlier one."""
    first = _first(task_id, task, noted) if noted.key or noted.model else task_id
    if first == task_id:
        _tag([task_id], noted.tags)
    return first


def remember(task_id: str, task: str) -> None:
    """Know that it was enqueued, though nothing is said of it; nothing happens if something is."""
    Enqueued.objects.bulk_create([_row(task_id, task, Noted())], ignore_conflicts=True)


def note_many(task_ids: Sequence[str], task: str, noted: Noted) -> None:
    """Keep it for many jobs, which have no key."""
    if noted.model:
        rows = [_row(task_id, task, noted) for task_id in task_ids]
        Enqueued.objects.bulk_create(rows, batch_size=500)
    _tag(task_ids, noted.tags)


def _first(task_id: str, task: str, noted: Noted) -> str:
    if noted.key:
        now = datetime.now(UTC)
        Enqueued.objects.filter(task=task, key=noted.key, key_until__lte=now).update(key=None)
    # Two at once: the second one waits here for the first one's commit.
    Enqueued.objects.bulk_create([_row(task_id, task, noted)], ignore_conflicts=True)
    if not noted.key:
        return task_id
    return Enqueued.objects.values_list("task_id", flat=True).get(task=task, key=noted.key)


def _row(task_id: str, task: str, noted: Noted) -> Enqueued:
    return Enqueued(
        task_id=task_id,
        task=task,
        key=noted.key,
        key_until=noted.key_until,
        model=noted.model,
        object_id=noted.object_id,
        at=datetime.now(UTC),
    )


def _tag(task_ids: Sequence[str], names: Sequence[str]) -> None:
    now = datetime.now(UTC)
    rows = [Tag(task_id=task_id, name=name, at=now) for task_id in task_ids for name in names]
    Tag.objects.bulk_create(rows, batch_size=500)


def jobs_of(instance: Model) -> Visible:
    """The recorded jobs that were enqueued about `instance`, the newest first."""
    about = Enqueued.objects.filter(model=instance._meta.label_lower, object_id=str(instance.pk))
    return Job.objects.filter(cluster=Cluster.DEFAULT_ID, task_id__in=about.values("task_id")).order_by("-id")
