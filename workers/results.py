"""Results in the database, through django-celery-results' tables, with one statement a state."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from celery import maybe_signature, states
from celery.exceptions import ChordError
from celery.result import GroupResult, result_from_tuple
from celery.utils.log import get_logger
from django.conf import settings
from django.db import InterfaceError, OperationalError, connections, router, transaction
from django.utils import timezone
from django_celery_results.backends import DatabaseBackend
from django_celery_results.models import ChordCounter  # type: ignore[attr-defined]
from kombu.exceptions import EncodeError
from kombu.exceptions import OperationalError as BrokerError

import nightdesk
from jobs.store import claims
from jobs.store.results import Mine, count_down, write_result
from workers import large
from workers.chords import Metas, joined, leaves, publish_body
from workers.models import Claim
from workers.running import Run, attempt_of, run_of

logger = get_logger(__name__)

# Celery's events tell these; any other state is news that a job gives of itself.
TOLD_BY_EVENTS = states.READY_STATES | {states.RETRY, states.REJECTED, states.IGNORED}
PROGRESS_EVENT = "job-progress"
# Fields of what is stored, in the order in which the backend encodes it.
ENCODED = ("content_type", "content_encoding", "result")
# Rows deleted in one transaction: SQLite has one writer, and others wait.
CHUNK = 500
# Where results never expire: far longer than a message that was published twice may wait.
CLAIMS_KEPT = timedelta(days=30)


@dataclass(frozen=True)
class Outcome:
    """What is told of a job: its row, what of it is stored apart, and of which attempt (None: not known)."""

    row: dict[str, Any]
    apart: str | None
    attempt: int | None


def _is_large(row: Mapping[str, Any]) -> bool:
    content = row["result"]
    return isinstance(content, str) and len(content) > settings.LARGE_RESULT


class ResultBackend(DatabaseBackend):  # type: ignore[misc]
    """django-celery-results, whose write is an upsert that never reopens a finished job.

    A state that a job gives itself by `update_state`, such as "RENDERING",
    becomes an event as well.
    """

    def _store_result(
        self,
        task_id: str,
        result: Any,
        status: str,
        traceback: str | None = None,
        request: Any = None,
        using: str | None = None,
    ) -> Any:
        encoded = self._row(task_id, result, status, traceback, request)
        # A chord whose members are acknowledged and forgotten would wait for ever.
        durable = settings.DURABLE_RESULTS or bool(getattr(request, "group", None))
        apart = encoded["result"] if status == states.SUCCESS and _is_large(encoded) else None
        if apart is not None:
            encoded.update(zip(ENCODED, self.encode_content(large.mark_of(apart)), strict=True))
        # Of a task that nobody knows, Celery doesn't say which attempt it was.
        attempt = attempt_of(request) if hasattr(request, "retries") else None
        self._write(Outcome(encoded, apart, attempt), using or router.db_for_write(self.TaskModel), durable)
        if status not in TOLD_BY_EVENTS:
            nightdesk.emit(PROGRESS_EVENT, uuid=task_id, state=status, meta=result)
        return encoded["result"]

    def _write(self, told: Outcome, using: str, durable: bool) -> None:
        """An outcome settles the claim of its job, and is not written by who has lost that claim."""
        task_id, status = told.row["task_id"], told.row["status"]
        run = run_of(task_id)
        if status not in states.READY_STATES or run is None or not run.token:
            self._insert(told, using, durable)
            if status in (states.FAILURE, states.REVOKED):  # as the main process does, of a job it has killed
                claims.close(Claim, task_id, told.attempt, using)
            return
        run.ended = self._insert(told, using, durable, Mine(Claim, run.token))
        if (
            not run.ended and claims.look(Claim, task_id, using) is None
        ):  # lost by the database, not to somebody
            run.ended = self._insert(told, using, durable)
        if not run.ended:
            self._note_loss(run)

    def _insert(self, told: Outcome, using: str, durable: bool, claim: Mine | None = None) -> bool:
        """Both, the row and what is stored apart; or neither, and False, if the claim was lost."""
        if told.apart is None:
            return write_result(self.TaskModel, told.row, using, durable, claim)
        with transaction.atomic(using):
            written = write_result(self.TaskModel, told.row, using, durable, claim)
            if written:
                large.put_apart(told.row["task_id"], told.apart)
        return written

    def _note_loss(self, run: Run) -> None:
        run.lost = True
        logger.warning("%s[%s] was taken over: its outcome here is dropped", run.task.name, run.task_id)

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        """As Celery knows it; a result that was stored apart is fetched."""
        meta: dict[str, Any] = super()._get_task_meta_for(task_id)
        if large.is_mark(meta.get("result")):
            meta["result"] = self.decode(large.fetch(task_id))
        return meta

    def _row(
        self, task_id: str, result: Any, status: str, traceback: str | None, request: Any
    ) -> dict[str, Any]:
        content_type, content_encoding, content = self.encode_content(result)
        children = self.current_task_children(request)
        _, _, meta = self.encode_content({**self._get_meta_from_request(request), "children": children})
        now = timezone.now()
        return {
            **self._get_extended_properties(request, traceback),
            "task_id": task_id,
            "status": status,
            "content_type": content_type,
            "content_encoding": content_encoding,
            "result": content,
            "meta": meta,
            "traceback": traceback,
            "date_created": now,
            "date_started": now if status == states.STARTED else None,
            "date_done": now,
        }

    def apply_chord(self, header_result_args: Any, body: Any, **_: Any) -> None:
        """Begin a chord; one that has begun is left as it is."""
        header = header_result_args
        if not isinstance(header, GroupResult):
            header = self.app.GroupResult(*header)
        results = [result.as_tuple() for result in header]
        counter = ChordCounter(
            group_id=header.id, sub_tasks=json.dumps(results), count=body.get("chord_size") or len(results)
        )
        ChordCounter.objects.bulk_create([counter], ignore_conflicts=True)

    def on_chord_part_return(self, request: Any, state: str, result: Any, **_: Any) -> None:
        """A job of a chord's header has an outcome, or has it again: fire the body once all have."""
        group_id = request.group
        if not group_id or not request.id:
            return
        header = count_down(ChordCounter, group_id, router.db_for_write(ChordCounter))
        if header is None:
            return
        results = [result_from_tuple(told, app=self.app) for told in json.loads(header)]
        group = self.app.GroupResult(group_id, results)
        metas = self._outcomes(leaves(group))
        if metas.keys() >= set(leaves(group)):
            self._fire(group, metas, maybe_signature(request.chord, app=self.app))
            ChordCounter.objects.filter(group_id=group_id).delete()

    def _fire(self, group: GroupResult, metas: Metas, body: Any) -> None:
        """Publish the body; it fails where a job of the header has failed, or where it can't be published."""
        try:
            publish_body(body, joined(group, metas))
        except ChordError as fault:
            self.chord_error_from_stack(body, fault)
        except (BrokerError, OSError, EncodeError) as fault:
            logger.error("the body of chord %s can't be published: %r", group.id, fault)
            self.chord_error_from_stack(body, ChordError(f"Callback error: {fault!r}"))

    def _outcomes(self, task_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Status and result of those that have an outcome."""
        rows = [
            row
            for start in range(0, len(task_ids), CHUNK)
            for row in self.TaskModel._default_manager.filter(
                task_id__in=task_ids[start : start + CHUNK], status__in=states.READY_STATES
            ).only("task_id", "status", "result", "content_encoding", "content_type")
        ]
        return {
            row.task_id: self.meta_from_decoded({"status": row.status, "result": self._result_of(row)})
            for row in rows
        }

    def _result_of(self, row: Any) -> Any:
        result = self.decode_content(row, row.result)
        return self.decode(large.fetch(row.task_id)) if large.is_mark(result) else result

    def cleanup(self) -> None:
        """Delete what is older than `result_expires`, a little at a time; without it, old claims alone."""
        if self.expires:
            self._delete_expired()
        kept = timezone.now() - (timedelta(seconds=self.expires) if self.expires else CLAIMS_KEPT)
        over = Claim.objects.filter(at__lt=kept, until__lt=kept.timestamp())
        while chunk := list(over.values_list("pk", flat=True)[:CHUNK]):
            Claim.objects.filter(pk__in=chunk)._raw_delete(over.db)

    def _delete_expired(self) -> None:
        for model in (self.TaskModel, self.GroupModel):
            expired = model._default_manager.get_all_expired(self.expires)
            while chunk := list(expired.values_list("pk", flat=True)[:CHUNK]):
                model._default_manager.filter(pk__in=chunk)._raw_delete(expired.db)
        large.forget(timezone.now() - timedelta(seconds=self.expires), CHUNK)

    def exception_safe_to_retry(self, exc: BaseException) -> bool:
        """The upsert may be repeated: after a fault of the connection it is, on a new one."""
        if not isinstance(exc, InterfaceError | OperationalError):
            return False
        connection = connections[router.db_for_write(self.TaskModel)]
        if connection.in_atomic_block:
            return False
        connection.close()
        return True
