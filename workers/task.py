"""The base task of this project."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from celery.contrib.django.task import DjangoTask
from celery.exceptions import Ignore

import nightdesk

# A header of the message that carries a chord's body: which publish of it this is.
BODY_TOKEN = "nightdesk_body"  # noqa: S105 a name


class Task(DjangoTask[..., Any]):
    """What every task here is: Celery's task for Django, and a progress that costs little."""

    Request = "workers.request:Request"

    PROGRESS: ClassVar[str] = "PROGRESS"
    PROGRESS_INTERVAL: ClassVar[float] = 0.5

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """A chord's body that was published twice, since somebody was killed right then, runs once."""
        token = self.request.get(BODY_TOKEN)
        backend: Any = self.backend
        if token and not backend.may_start(task_id, token):
            nightdesk.emit("job-duplicate", uuid=task_id)
            raise Ignore

    def progress(self, current: float, total: float, **meta: Any) -> None:
        """Say how far the running job is; written at most twice a second, and at the end.

        `meta` is shown beside it and must be JSON.
        """
        request: Any = self.request
        now = time.monotonic()
        if request.id is None or (current < total and now < getattr(request, "progress_next", 0.0)):
            return
        request.progress_next = now + self.PROGRESS_INTERVAL
        self.update_state(state=self.PROGRESS, meta={"current": current, "total": total, **meta})
