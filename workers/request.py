"""A worker's request: a job that kills its pool process may do so only so often, and one may be put aside."""

from __future__ import annotations

from typing import Any

import redis
from celery.exceptions import Retry
from celery.signals import task_retry
from celery.states import SUCCESS
from celery.utils.log import get_logger
from celery.utils.saferepr import saferepr
from celery.worker.state import task_ready
from kombu.exceptions import OperationalError

from nightdesk.request import RecordedRequest
from workers import effects
from workers.brokers.transport import Channel
from workers.limits import aside
from workers.poison import LOSSES, is_poison, losses_told
from workers.putting_back import PutBack

RETRY_DELAY = 1

logger = get_logger(__name__)


class Request(RecordedRequest):
    """Counts in the message itself how often the process under this job was lost.

    Celery's own ways do not hold: requeueing (`task_reject_on_worker_lost`)
    has no end, and `task_retry_on_worker_lost` is bounded by the task's
    `max_retries`, which may be None or large. The count travels with the job,
    so it holds whichever worker takes it next.
    """

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        """As Celery does it; but a message that has to wait is put aside."""
        told = exc_info.exception
        told = getattr(told, "exc", told)  # a pool's process wraps it, to send its traceback along
        if isinstance(told, PutBack):
            self._put_back(told)
            return None
        return super().on_failure(exc_info, send_failed_event, return_ok)

    def _announce_cancelled(self, emit_retry: bool = True) -> None:
        """A stop has ended the process under this job; another worker may run it at once."""
        super()._announce_cancelled(emit_retry)  # type: ignore[misc]
        effects.let_go(self._context)  # type: ignore[attr-defined]

    def _put_back(self, told: PutBack) -> None:
        """Take the message out of this worker's hand, and have it come back later. That is no retry."""
        task_ready(self)
        if self.acknowledged or not isinstance(self.message.channel, Channel):
            self._publish_later(told)
            self.acknowledge()
        else:
            try:
                self._wait_aside(told)
            except (redis.RedisError, OSError) as fault:  # it stays unacknowledged, and is delivered again
                logger.warning("%s[%s] can't be put aside: %r", self.name, self.id, fault)
                return
        self.send_event("task-rejected", requeue=True)

    def _wait_aside(self, told: PutBack) -> None:
        message: Any = self.message
        aside().put(message, self.id, told.delay, told.line)
        message.channel.qos.forget(message.delivery_tag)
        message._state = "REJECTED"
        self.acknowledged = True

    def _publish_later(self, told: PutBack) -> None:
        """Where the message is no longer the broker's to move."""
        request: Any = self._context  # type: ignore[attr-defined]
        self.task.signature_from_request(
            request, countdown=told.delay or RETRY_DELAY, retries=request.retries
        ).apply_async()

    def _retry_worker_lost(self, exc: Exception, exc_info: Any) -> bool:
        """Publish the job again; False, which makes it fail for good, once it was lost too often."""
        losses = losses_told(self.request_dict) + effects.losses_of(self.id) + 1
        if is_poison(losses):
            return False
        try:
            self._publish_again(losses_told(self.request_dict) + 1)
        except (OperationalError, OSError) as error:
            # The broker is away: leave the message with it, unacknowledged, rather than lose the job.
            logger.warning("%s[%s] was lost and can't be published again yet: %r", self.name, self.id, error)
            self.reject(requeue=True)
            return True
        effects.close(self._context)  # type: ignore[attr-defined]
        self._tell_of_the_retry(exc, exc_info)
        return True

    def _success_was_stored(self) -> Any:
        """The process was lost after its job had succeeded: did the job's chord hear of it?

        Celery takes for granted that it did. To say it twice does no harm.
        """
        meta = super()._success_was_stored()  # type: ignore[misc]
        if meta and self.chord:
            self.task.backend.on_chord_part_return(self._context, SUCCESS, meta["result"])  # type: ignore[attr-defined]
        return meta

    def _publish_again(self, losses: int) -> None:
        request: Any = self._context  # type: ignore[attr-defined]
        self.task.signature_from_request(
            request,
            countdown=RETRY_DELAY,
            retries=request.retries + 1,
            headers={**(request.headers or {}), LOSSES: losses},
        ).apply_async()

    def _tell_of_the_retry(self, exc: Exception, exc_info: Any) -> None:
        """What Celery tells of any retry: backend, broker, event, signal."""
        task: Any = self.task
        request: Any = self._context  # type: ignore[attr-defined]
        if self.store_errors:
            task.backend.mark_as_retry(self.id, exc, exc_info.traceback, request=request)
        self.acknowledge()
        self.send_event("task-retried", exception=saferepr(exc), traceback=str(exc_info.traceback))
        task.on_retry(exc, self.id, self.args, self.kwargs, exc_info)
        task_retry.send(task, request=request, reason=Retry(exc=exc), einfo=exc_info)
        logger.warning("%s[%s] lost its process and runs again: %r", self.name, self.id, exc)
