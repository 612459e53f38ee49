"""Every command there is, done through the API and on the command line, with real workers that obey."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from jobs.models import Action, Alert, Bulk, DeadLetter, Error, Job, QueueSample, Timeline
from jobs.perform import registered
from jobs.ticks.plans import rhythm_text
from tests import tasks
from tests.api import Program, account, token_of
from tests.channels import a_channel
from tests.harness import Installation, eventually
from tests.steering import known, reads, settled

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
    pytest.mark.usefixtures("published_from_here"),
]
WHO = "ana"


def by_program(command: str, fields: dict[str, Any]) -> int:
    """Through the API: the number of the action."""
    answer = Program(token_of(account(WHO))[0]).do(command, **fields)
    return int(answer.body["id"] if answer.status == 202 else answer.body["action"])


def by_hand(command: str, fields: dict[str, Any]) -> int:
    """On the command line, which takes texts: the number of the action."""
    words = [word for name, value in fields.items() for word in (f"--{name.replace('_', '-')}", _text(value))]
    out = StringIO()
    try:
        call_command("act", command, *words, "--as", WHO, "--json", stdout=out)
    except CommandError as fault:
        return int(orjson.loads(str(fault))["action"])
    return int(orjson.loads(out.getvalue())["action"])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


@dataclass
class Desk:
    """Somebody who acts in one way, and what they have done."""

    way: Callable[[str, dict[str, Any]], int]
    done: set[str] = field(default_factory=set)

    def ask(self, command: str, **fields: Any) -> Action:
        self.done.add(command)
        return Action.objects.get(pk=self.way(command, fields))

    def do(self, command: str, **fields: Any) -> Any:
        """Do it until facts have confirmed it; what came of it."""
        action = settled(self.ask(command, **fields), 60)
        assert action.outcome == "done", (command, action.outcome, action.detail)
        return orjson.loads(action.after) if action.after else None


def stands(task_id: str, state: str) -> None:
    eventually(lambda: Job.objects.filter(task_id=task_id, state=state).exists(), 30, f"{task_id} {state}")


@pytest.mark.parametrize("way", [by_program, by_hand])
def test_every_command(way: Callable[..., int], installation: Installation, tmp_path: Path) -> None:
    person = account(WHO)
    person.is_superuser = True
    person.save()
    installation.monitor()
    installation.worker("default,low", slots=2)
    name = known("test").name
    desk = Desk(way)
    _jobs(desk, tmp_path)
    _dead_letters(desk)
    _errors(desk)
    _queues(desk)
    _bulks(desk)
    _channels(desk)
    _alerts(desk)
    _schedules(desk, tmp_path)
    _workers(desk, name)
    assert desk.done == set(registered.commands), "a new command needs a line here"


def _jobs(desk: Desk, folder: Path) -> None:
    failed = tasks.fail_with.delay("no").id
    stands(failed, "failed")
    again = desk.do("job.retry", task_id=failed, reason="once more")["task_id"]
    stands(again, "failed")
    edited = desk.do("job.rerun", task_id=failed, args=["other"], kwargs={})["task_id"]
    stands(edited, "failed")
    note = folder / "ran"
    made = desk.do("task.run", task="tests.tasks.note", args=[str(note), "here"], queue="default")
    stands(made["task_id"], "succeeded")
    assert note.read_text() == "here\n"
    running = tasks.sleep_until.delay(str(folder / "never"), 120).id
    stands(running, "running")
    desk.do("job.terminate", task_id=running)
    stands(running, "revoked")


def _dead_letters(desk: Desk) -> None:
    gone = tasks.succeed_at.delay(9).id
    stands(gone, "failed")
    letter = DeadLetter.objects.get(key=gone)
    again = desk.do("dead.requeue", letters=[letter.pk], reason="it is mended")["task_id"]
    stands(again, "failed")
    assert desk.do("dead.discard", why="retries", confirm=1) == {"discarded": 1}


def _errors(desk: Desk) -> None:
    eventually(Error.objects.filter(times__gt=0).exists, 30)
    error = Error.objects.latest("pk").pk
    desk.do("error.assign", error=error, who=WHO)
    desk.do("error.note", error=error, text="a test of ours")
    desk.do("error.ignore", error=error, times=1_000)
    desk.do("error.reopen", error=error)
    desk.do("error.resolve", error=error, reason="mended")
    assert Error.objects.values_list("status", "assignee").get(pk=error) == ("resolved", WHO)


def _queues(desk: Desk) -> None:
    waiting = tasks.add.apply_async((1, 2), queue="high").id
    stands(waiting, "queued")
    revoked = desk.ask("job.revoke", task_id=waiting)
    assert revoked.outcome in ("asked", "sent")
    desk.do("queue.pause", queue="low", reason="a moment")
    assert "low" not in reads(known("test").name)
    desk.do("queue.resume", queue="low")
    eventually(lambda: "low" in reads(known("test").name), 30)
    # A name of its own: what this process has declared once, it does not declare again.
    doomed = f"doomed-{desk.way.__name__}"
    tasks.add.apply_async((1, 2), queue=doomed)
    eventually(lambda: QueueSample.objects.filter(queue=doomed, depth=1).exists(), 30)
    assert desk.ask("queue.purge", queue=doomed, confirm="no").refusal == "confirm"
    desk.do("queue.purge", queue=doomed, confirm=doomed)
    desk.do("worker.add-consumer", worker=known("test").name, queue="high")
    stands(waiting, "revoked")
    assert settled(revoked, 60).outcome == "done"


def _bulks(desk: Desk) -> None:
    few = desk.do("bulk.preview", deed="retry", state="failed", task="tests.tasks.fail_with")["bulk"]
    eventually(lambda: Bulk.objects.get(pk=few).frozen_at is not None, 30)
    desk.do("bulk.start", bulk=few, rate=100.0, stop_share=1.0)
    for text in ("once", "twice"):  # those above have been retried
        stands(tasks.fail_with.delay(text).id, "failed")
    slow = desk.do("bulk.preview", deed="retry", state="failed", task="tests.tasks.fail_with")["bulk"]
    eventually(lambda: Bulk.objects.get(pk=slow).frozen_at is not None, 30)
    started = desk.ask("bulk.start", bulk=slow, rate=0.1, stop_share=1.0)
    assert started.refusal is None
    for command in ("bulk.pause", "bulk.resume", "bulk.abort"):
        assert desk.ask(command, bulk=slow).refusal is None, command
    assert Bulk.objects.get(pk=slow).state == "aborted"


def _channels(desk: Desk) -> None:
    """Sealed with another key than the monitor's, which says so."""
    channel = a_channel("email", "ana@example.com", f"of {desk.way.__name__}", default=False)
    tried = settled(desk.ask("channel.test", channel=channel.pk), 60)
    assert (tried.outcome, "SECRET_KEY" in tried.detail) == ("failed", True)


def _alerts(desk: Desk) -> None:
    deep = f"deep-{desk.way.__name__}"
    rule = desk.do(
        "rule.save", title=f"of {desk.way.__name__}", kind="depth", params={"more_than": 0}, queues=deep
    )["rule"]
    tasks.add.apply_async((1, 2), queue=deep)
    seen = Alert.objects.filter(rule=rule, state="firing")
    eventually(seen.exists, 60, "an alert fires")
    alert = seen.get().pk
    desk.do("alert.acknowledge", alert=alert, reason="on it")
    desk.do("alert.silence", alert=alert, lasts=60.0)
    desk.do("alert.unsilence", alert=alert)
    desk.do("alert.note", alert=alert, text="known")
    desk.do("rule.disable", rule=rule)
    eventually(lambda: Alert.objects.get(pk=alert).state == "resolved", 60, "it is resolved")
    desk.do("rule.enable", rule=rule)


def _schedules(desk: Desk, folder: Path) -> None:
    note, now = folder / "scheduled", timezone.now()
    hourly = IntervalSchedule.objects.create(every=1, period="hours")
    what = {"task": "tests.tasks.note", "queue": "low", "args": orjson.dumps([str(note), "here"]).decode()}
    row = PeriodicTask.objects.create(name="hourly", interval=hourly, enabled=False, **what)
    desk.do("schedule.edit", schedule=row.pk, cron="0 * * * *", zone="Europe/Paris", note="by program")
    desk.do("schedule.enable", schedule=row.pk)
    desk.do("schedule.skip", schedule=row.pk)
    desk.do("schedule.pause", schedule=row.pk, lasts=600.0)
    desk.do("schedule.resume", schedule=row.pk)
    desk.do("schedule.run", schedule=row.pk)
    eventually(lambda: note.exists() and note.read_text() == "here\n", 30)
    row.refresh_from_db()
    Timeline.objects.create(schedule=row, rhythm=rhythm_text(row), decided_until=now)
    span = {"begin": (now - timedelta(hours=2)).isoformat(), "end": now.isoformat()}
    assert desk.ask("schedule.backfill", schedule=row.pk, **span).refusal == "confirm"
    desk.do("schedule.backfill", schedule=row.pk, confirm=2, **span)
    eventually(lambda: note.read_text() == "here\n" * 3, 30)
    desk.do("schedule.disable", schedule=row.pk)


def _workers(desk: Desk, name: str) -> None:
    desk.do("worker.grow", worker=name, by=2)
    desk.do("worker.shrink", worker=name, by=1)
    desk.do("worker.cancel-consumer", worker=name, queue="low")
    desk.do("task.rate-limit", worker=name, task="tests.tasks.add", rate="7/m")
    desk.do("task.time-limits", worker=name, task="tests.tasks.add", soft=5.0, hard=9.0)
    desk.do("worker.events", worker=name, on=True)
    assert settled(desk.ask("worker.autoscale", worker=name, least=1, most=2)).outcome in (
        "refused",
        "failed",
    )
    desk.do("worker.restart-pool", worker=name)
    desk.do("worker.shutdown", worker=name)
