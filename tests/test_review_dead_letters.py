"""Dead letters: which jobs become one, how they are shown, and how somebody settles them."""

from __future__ import annotations

import base64
import random
import threading
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from django.test import Client
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from jobs import dead_letters, live, scopes
from jobs.deaths import why_dead
from jobs.loading import jobs_by_task_id
from jobs.models import Action, DeadLetter, Job, Outgoing, Reach
from jobs.perform import Actor, Command, perform
from jobs.record import Record
from jobs.retention import Retention
from tests.stream import entries_of, entry_of, raw
from tests.test_templates import HOSTILE, words
from workers.commands.bulk import BulkPreview, BulkStart
from workers.commands.dead import MOST, Discard, Requeue
from workers.commands.jobs import Retry

SOURCE = "test"
BODY = '[["a"], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
Page = Callable[..., str]


def life(uuid: str, *attempts: str, task: str = "shop.pay", at: float = 0.0) -> list[dict[str, Any]]:
    """A job whose attempts end as told, each a key of ENDS."""
    events = []
    for retries, end in enumerate(attempts):
        told = {"retries": retries, "delivery": 10 + retries}
        began = at + retries * 3
        sent = {"name": task, "queue": "high", "args": '["a"]', "kwargs": "{}", "body": BODY}
        events += [
            raw("task-sent", uuid, began, retries=retries, **sent),
            raw("task-received", uuid, began + 1, **told, name=task, queue="high"),
            raw("task-started", uuid, began + 1.5, **told),
            raw(ENDS[end][0], uuid, began + 2, **told, **ENDS[end][1]),
        ]
    return events


LOST = {"exception": "WorkerLostError('Worker exited prematurely: signal 9 (SIGKILL) Job: 3.')"}
ENDS: dict[str, tuple[str, dict[str, Any]]] = {
    "ok": ("task-succeeded", {"result": "1"}),
    "retry": ("task-retried", {"exception": "ConnectionError('away')"}),
    "fail": ("task-failed", {"exception": "ConnectionError('away')", "traceback": "Traceback…"}),
    "poisoned": ("task-failed", {"exception": "WorkersLost('3 workers were lost that ran this job')"}),
    "lost": ("task-retried", LOST),
    "lost for good": ("task-failed", LOST),
}


def unknown(uuid: str, at: float = 0.0) -> list[dict[str, Any]]:
    """A message of a task that its worker doesn't know, from a producer without a recorder."""
    return [
        {
            "type": "task-failed", "uuid": uuid, "timestamp": raw("x", uuid, at)["timestamp"],
            "hostname": "w1@host", "exception": "NotRegistered('shop.gone')",
        },
        raw("job-unknown", uuid, at, name="shop.gone", queue="low", args='["a"]', kwargs="{}", body=BODY),
    ]  # fmt: skip


def dropped(content: bytes = b"\xff{", at: float = 0.0, **fields: Any) -> dict[str, Any]:
    """A message that its worker could not read."""
    told = {
        "type": "message-dropped", "timestamp": raw("x", "x", at)["timestamp"], "queue": "low",
        "digest": content.hex(), "size": len(content), "shown": content.decode(errors="backslashreplace"),
        "exception": "DecodeError: no JSON", "content_type": "application/json",
        "content_encoding": "utf-8", "headers": "{}", "raw": base64.b64encode(content).decode(),
    }  # fmt: skip
    return {**told, **fields}


def record(events: list[dict[str, Any]], producer: str = "p1") -> None:
    Record(SOURCE).commit(entries_of(events, producer=producer))


def waiting() -> dict[str, str]:
    """Why, by key, for all that wait."""
    return dict(DeadLetter.objects.filter(settled="").values_list("key", "why"))


# Which jobs become one


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("attempts", "why"),
    [
        (["ok"], None),
        (["fail"], None),
        (["retry", "ok"], None),
        (["retry", "fail"], "retries"),
        (["retry", "retry", "retry", "fail"], "retries"),
        (["lost for good"], None),
        (["lost", "lost", "lost for good"], "poison"),
        (["retry", "lost for good"], "retries"),
        (["lost", "retry", "fail"], "retries"),
        (["poisoned"], "poison"),
        (["lost", "lost"], None),
    ],
)
def test_a_job_that_was_given_up_after_more_than_one_try_is_a_dead_letter(
    attempts: list[str], why: str | None
) -> None:
    record(life("job", *attempts))
    assert waiting() == ({"job": why} if why else {})
    if why:
        letter = DeadLetter.objects.get()
        job = Job.objects.get()
        assert (letter.job_id, letter.task, letter.queue) == (job.pk, "shop.pay", "high")
        assert (letter.times, letter.exception, letter.last_at) == (
            len(attempts), job.exception, job.ended_at
        )  # fmt: skip


@pytest.mark.django_db
def test_a_job_whose_deliveries_killed_their_workers_unheard_is_poison() -> None:
    events = life("job", "poisoned")[:1]
    for delivery in (11, 12, 13):
        events += [
            raw("task-received", "job", delivery, delivery=delivery, name="shop.pay", queue="high"),
            raw("task-started", "job", delivery + 0.5, delivery=delivery),
        ]
    record([*events, raw("task-failed", "job", 20, delivery=14, exception="WorkersLost('3 workers')")])
    assert waiting() == {"job": "poison"}


@pytest.mark.django_db
def test_an_unknown_task_keeps_its_name_its_queue_and_its_body() -> None:
    record(unknown("job"))
    assert waiting() == {"job": "unknown"}
    letter, job = DeadLetter.objects.get(), Job.objects.select_related("payload").get()
    assert (letter.task, letter.queue, job.state) == ("shop.gone", "low", "failed")
    assert job.payload.body == BODY


@pytest.mark.django_db
def test_the_same_unreadable_message_is_one_letter_that_is_counted() -> None:
    record([dropped(at=0), dropped(at=1), dropped(b"other", at=1), dropped(at=5)])
    record([dropped(at=9)], producer="p2")
    first, second = DeadLetter.objects.order_by("-times")
    assert (first.times, second.times, first.why) == (4, 1, "unreadable")
    assert (first.last_at - first.since).total_seconds() == 9


@pytest.mark.django_db
def test_what_is_read_again_counts_once() -> None:
    entries = [entry_of([dropped()], "p1", 1), entry_of(unknown("job"), "p1", 2)]
    Record(SOURCE).commit(entries)
    Record(SOURCE).commit(entries)
    assert list(DeadLetter.objects.order_by("key").values_list("key", "times")) == [
        ("job", 1),
        ("sha256:" + b"\xff{".hex(), 1),
    ]


@pytest.mark.django_db
def test_a_second_delivery_that_succeeds_takes_the_letter_back_and_one_that_fails_opens_it_again() -> None:
    record(life("job", "retry", "fail"))
    assert waiting() == {"job": "retries"}
    again = {"retries": 1, "delivery": 99}
    told = [
        raw("task-received", "job", 20, **again, name="shop.pay", queue="high"),
        raw("task-started", "job", 21, **again),
    ]
    record(told, producer="p2")
    assert waiting() == {}
    assert DeadLetter.objects.get().settled == "revived"
    record([raw("task-failed", "job", 22, **again, exception="KeyError('x')")], producer="p3")
    assert waiting() == {"job": "retries"}


@pytest.mark.django_db
def test_what_somebody_has_settled_stays_settled_unless_the_same_message_comes_again(ops: User) -> None:
    record([*life("job", "retry", "fail"), dropped()])
    for letter in DeadLetter.objects.all():
        assert done(ops, Discard((letter.pk,))).outcome == "done"
    late = raw("task-failed", "job", 30, retries=1, delivery=99, exception="KeyError('x')")
    record([late, dropped(at=40)], producer="p2")
    assert list(waiting()) == ["sha256:" + b"\xff{".hex()]


class AnyOrder(TestCase):
    @hypothesis_settings(parent=hypothesis_settings.default, max_examples=60)
    @given(st.data())
    def test_in_any_order_those_wait_that_have_come_to_nothing(self, data: st.DataObject) -> None:
        ends = st.sampled_from(["fail", "poisoned", "lost for good", "ok"])
        retries = st.lists(st.sampled_from(["retry", "lost"]), max_size=3)
        lives = data.draw(st.lists(st.tuples(retries, ends), min_size=1, max_size=4))
        events = [
            event for number, (before, end) in enumerate(lives) for event in life(f"j{number}", *before, end)
        ]
        events += unknown("gone") + [dropped()] * data.draw(st.integers(0, 3))
        random.Random(data.draw(st.integers())).shuffle(events)
        for start in range(0, len(events), size := data.draw(st.integers(1, 12))):
            Record(SOURCE).commit([entry_of(events[start : start + size], "p1", start + 1)])
        jobs = jobs_by_task_id(1, [f"j{n}" for n in range(len(lives))] + ["gone"])
        expected = {job.task_id: str(why) for job in jobs.values() if (why := why_dead(job))}
        times = sum(event["type"] == "message-dropped" for event in events)
        assert {k: v for k, v in waiting().items() if not k.startswith("sha256:")} == expected
        assert expected["gone"] == "unknown"
        assert sum(DeadLetter.objects.filter(why="unreadable").values_list("times", flat=True)) == times


@pytest.mark.django_db
@pytest.mark.parametrize(
    "odd",
    [{"digest": None}, {"digest": 7}, {"timestamp": "soon"}, {"timestamp": None}],
    ids=str,
)
def test_a_message_event_that_cannot_be_read_is_quarantined(odd: dict[str, Any]) -> None:
    record([dropped(**odd), *life("job", "retry", "fail")])
    assert waiting() == {"job": "retries"}


@pytest.mark.django_db
def test_a_body_too_large_for_the_record_is_withheld() -> None:
    record([dropped(raw="A" * 200_000)])
    letter = DeadLetter.objects.get()
    assert (letter.raw, letter.withheld) == (None, "too large")


# Settling them


def done(user: User, command: Command, reason: str = "it is mended") -> Action:
    return perform(Actor(user, "page"), command, reason)


@pytest.mark.django_db
def test_a_job_is_sent_again_with_its_exact_body_as_a_new_job(ops: User) -> None:
    record(life("job", "retry", "fail"))
    letter = DeadLetter.objects.get()
    action = done(ops, Requeue((letter.pk,)))
    assert (action.outcome, action.refusal, action.target_kind) == ("asked", None, "dead-letter")
    row = Outgoing.objects.get()
    assert (row.body, row.queue, row.task) == (BODY, "high", "shop.pay")
    assert orjson.loads(row.headers)["nightdesk_retry_of"] == "job"
    letter.refresh_from_db()
    assert (letter.settled, letter.new_task_id, letter.action) == ("requeued", row.task_id, action)
    assert done(ops, Requeue((letter.pk,))).refusal == "settled"
    assert done(ops, Retry("job")).refusal == "asked", "its second life is on its way"


@pytest.mark.django_db
def test_a_message_is_sent_again_byte_for_byte(ops: User) -> None:
    record([dropped(b"\x00\xff not JSON", headers='{"id": "x", "task": "t"}', priority=7)])
    action = done(ops, Requeue((DeadLetter.objects.get().pk,)))
    assert orjson.loads(action.after or "") == {"requeued": 1}
    row = Outgoing.objects.get()
    assert base64.b64decode(row.body) == b"\x00\xff not JSON"
    assert (row.queue, row.priority) == ("low", 7)
    assert orjson.loads(row.properties) == {"nightdesk_raw": ["application/json", "utf-8"]}


@pytest.mark.django_db
def test_a_message_whose_priority_is_not_known_goes_with_the_usual_one(ops: User) -> None:
    record([dropped()])
    done(ops, Requeue((DeadLetter.objects.get().pk,)))
    assert Outgoing.objects.get().priority == settings.CELERY_TASK_DEFAULT_PRIORITY


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has one writer")
def test_a_job_that_is_retried_at_the_same_moment_is_not_sent_again(ops: User) -> None:
    record(life("job", "retry", "fail"))
    letter, actions, asked = DeadLetter.objects.get(), list[Action](), threading.Event()

    def requeue() -> None:
        asked.set()
        actions.append(done(ops, Requeue((letter.pk,))))
        connection.close()

    thread = threading.Thread(target=requeue)
    with transaction.atomic():
        Job.objects.select_for_update().get()
        thread.start()
        assert asked.wait(10)
        thread.join(0.5)
        assert done(ops, Retry("job")).refusal is None
    thread.join(20)
    assert [action.refusal for action in actions] == ["settled"]
    assert Outgoing.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("withheld", ["redacted", "too large", "not captured", "not an envelope"])
def test_what_was_not_kept_is_not_sent_and_the_refusal_says_why(ops: User, withheld: str) -> None:
    record([dropped(raw=None, headers=None, withheld=withheld)])
    action = done(ops, Requeue((DeadLetter.objects.get().pk,)))
    assert action.refusal == "withheld"
    assert len(action.detail) > 20
    assert DeadLetter.objects.get().is_open


@pytest.mark.django_db
@pytest.mark.parametrize("in_bulk", [False, True])
def test_a_job_that_is_retried_from_its_own_page_or_in_bulk_waits_no_longer(ops: User, in_bulk: bool) -> None:
    record(life("job", "retry", "fail"))
    if in_bulk:
        from workers.bulk.acting import act_on_some

        bulk = orjson.loads(done(ops, BulkPreview("retry", ("job",))).after or "")["bulk"]
        assert done(ops, BulkStart(bulk)).refusal is None
        act_on_some(bulk, 10)
    else:
        assert done(ops, Retry("job")).refusal is None
    letter = DeadLetter.objects.get()
    assert (letter.settled, letter.new_task_id) == ("requeued", Outgoing.objects.get().task_id)


@pytest.mark.django_db
def test_all_of_one_reason_and_task_go_together_and_the_others_wait(ops: User) -> None:
    events = [event for n in range(5) for event in life(f"pay-{n}", "retry", "fail", at=n)]
    record([*events, *life("mail", "retry", "fail", task="shop.mail"), *unknown("gone"), dropped()])
    action = done(ops, Requeue(why="retries", task="shop.pay", confirm=5))
    assert (action.refusal, action.count) == (None, 5)
    assert set(waiting()) == {"mail", "gone", "sha256:" + b"\xff{".hex()}
    assert Outgoing.objects.count() == 5


@pytest.mark.django_db
def test_what_came_after_the_count_is_left_alone_and_a_count_that_changed_is_refused(ops: User) -> None:
    record(life("early", "retry", "fail"))
    seen = DeadLetter.objects.get().pk
    record(life("late", "retry", "fail"), producer="p2")
    assert done(ops, Discard(why="retries", confirm=1)).refusal == "confirm"
    assert done(ops, Discard(why="retries", upto=seen, confirm=1)).outcome == "done"
    assert set(waiting()) == {"late"}


@pytest.mark.django_db
def test_above_a_hundred_their_number_and_a_reason_are_needed_and_a_thousand_go_at_once(ops: User) -> None:
    record([dropped(f"message {n}".encode()) for n in range(MOST + 5)])
    assert done(ops, Discard(why="unreadable")).refusal == "confirm"
    assert done(ops, Discard(why="unreadable", confirm=MOST), reason="").refusal == "reason"
    assert done(ops, Discard(why="unreadable", confirm=MOST)).count == MOST
    assert len(waiting()) == 5


@pytest.mark.django_db
def test_of_many_those_go_that_can_and_the_others_are_counted_with_the_reason(ops: User) -> None:
    record([dropped(b"1"), dropped(b"2", raw=None, withheld="redacted"), dropped(b"3")])
    action = done(ops, Requeue(why="unreadable"))
    told = orjson.loads(action.after or "")
    assert told["requeued"] == 2
    [left] = told["left"]
    assert ("secrets" in left["why"], left["count"]) == (True, 1)
    assert len(waiting()) == 1


@pytest.mark.django_db
@pytest.mark.parametrize("made", [{}, {"letters": (1,), "why": "retries"}])
def test_letters_or_a_filter_one_of_the_two(ops: User, made: dict[str, Any]) -> None:
    assert done(ops, Discard(**made)).refusal == "set"


@pytest.mark.django_db
def test_nobody_sees_counts_or_settles_what_is_beyond_their_reach() -> None:
    record([*life("job", "retry", "fail"), *unknown("gone"), dropped()])
    user = User.objects.create_user("bo")
    user.groups.add(Group.objects.get(name="operator"))
    Reach.objects.create(user=user, queues="high")
    user = User.objects.get(pk=user.pk)
    page = dead_letters.find(dead_letters.Query(), user)
    assert [letter.key for letter in page.letters] == ["job"]
    scope = live.scope_of(user)
    assert scope is not None
    assert dead_letters.open_within(scopes.named(scope)) == 1
    others = DeadLetter.objects.exclude(key="job")
    assert done(user, Discard(tuple(others.values_list("pk", flat=True)))).refusal == "missing"
    assert done(user, Discard((others[0].pk,))).refusal == "missing"
    assert done(user, Discard(queue="low")).refusal == "missing"
    assert len(waiting()) == 3


@pytest.mark.django_db
def test_letters_are_forgotten_when_their_jobs_are() -> None:
    from datetime import timedelta

    from jobs.forgetting import rows_over

    record([*life("job", "retry", "fail"), dropped()])
    last = max(DeadLetter.objects.values_list("last_at", flat=True))
    kept = Retention(ended=timedelta(days=1))
    for days, left in ((0.9, 2), (1.1, 0)):
        for rows in rows_over(kept, last + timedelta(days=days)):
            rows.delete()
        assert DeadLetter.objects.count() == left


# Pages


@pytest.fixture
def page(client: Client, ops: User) -> Page:
    client.force_login(ops)

    def read(address: str, status: int = 200) -> str:
        response = client.get(address)
        assert response.status_code == status, response.content[:2000]
        return response.content.decode()

    return read


@pytest.mark.django_db
def test_an_empty_list_says_so_and_nothing_is_counted(page: Page) -> None:
    assert "Nothing is waiting here" in page("/dead/")
    assert "Dead letters 0" not in words(page("/"))


@pytest.mark.django_db
def test_the_list_tells_why_what_and_how_often_and_the_overview_and_the_side_bar_count(page: Page) -> None:
    record([*life("job", "retry", "fail"), *unknown("gone"), dropped(), dropped(at=3)])
    shown = words(page("/dead/"))
    for text in ("3 letters", "Out of retries", "Unknown task", "Unreadable", "pay", "gone"):
        assert text in shown
    assert "Dead letters: 3" in words(page("/"))
    assert "Dead letters3" in words(page("/queues/"))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("asked", "keys"),
    [
        ("why=retries", {"pay"}),
        ("task=shop.gone", {"gone"}),
        ("queue=low&why=unknown", {"gone"}),
        ("settled=discarded", set()),
        ("why=retries&queue=low", set()),
    ],
)
def test_the_list_is_narrowed(page: Page, asked: str, keys: set[str]) -> None:
    record([*life("job", "retry", "fail"), *unknown("job2")])
    markup = page(f"/dead/?{asked}")
    table = markup.partition("<tbody>")[2].partition("</tbody>")[0]
    assert {name for name in ("pay", "gone") if name in words(table)} == keys


@pytest.mark.django_db
@pytest.mark.parametrize("asked", ["why=boredom", "before=0", "before=x", "settled=never"])
def test_a_filter_that_cannot_be_read_is_said(page: Page, asked: str) -> None:
    assert "The filter can't be read" in page(f"/dead/?{asked}", 400)


@pytest.mark.django_db
def test_what_a_message_held_is_shown_as_text(page: Page) -> None:
    content = HOSTILE.encode() + b"\xff\x00" + "\u202e".encode()
    record(
        [dropped(content, exception=HOSTILE, name=HOSTILE, headers=orjson.dumps({"id": HOSTILE}).decode())]
    )
    markup = page(f"/dead/{DeadLetter.objects.get().pk}/")
    assert HOSTILE not in markup
    assert "\\xff\\x00\\u202e" in markup


@pytest.mark.django_db
def test_who_may_not_see_what_jobs_carry_sees_no_body_and_the_type_of_the_exception_alone(
    client: Client,
) -> None:
    from django.contrib.auth.models import Permission

    record([*life("job", "retry", "fail"), dropped(b"a private thing", exception="ValueError: private")])
    user = User.objects.create_user("bo")
    user.user_permissions.add(Permission.objects.get(codename="view_record"))
    client.force_login(user)
    for letter in DeadLetter.objects.all():
        markup = client.get(f"/dead/{letter.pk}/").content.decode()
        assert "Your role does not include" in markup
        assert "private" not in markup
        assert "away" not in markup
    assert "private" not in client.get("/dead/").content.decode()


@pytest.mark.django_db
def test_pages_without_script_lead_from_the_list_to_the_deed_and_say_who_did_it(
    page: Page, client: Client
) -> None:
    record([*life("one", "retry", "fail"), *life("two", "retry", "fail", at=5)])
    letters = list(DeadLetter.objects.order_by("pk").values_list("pk", flat=True))
    asked = page(f"/dead/requeue/?letter={letters[0]}&letter={letters[1]}")
    assert "Requeue 2 letters" in asked
    once = asked.partition('name="once" value="')[2].partition('"')[0]
    form = {"once": once, "letter": [str(n) for n in letters], "confirm": "2", "reason": "the till is back"}
    answer = client.post("/dead/requeue/", form)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/dead/")
    assert "Nothing is waiting here" in page("/dead/")
    assert "Requeued" in page("/dead/?settled=requeued")
    shown = words(page(f"/dead/{letters[0]}/"))
    assert "dead.requeue" in shown
    assert "Sent as" in shown


@pytest.mark.django_db
def test_the_page_of_a_job_leads_to_its_letter_while_it_waits(page: Page, ops: User) -> None:
    record(life("job", "retry", "fail"))
    number = DeadLetter.objects.get().pk
    assert f"/dead/{number}/" in page("/jobs/job/")
    assert "/jobs/job/" in page(f"/dead/{number}/")
    done(ops, Discard((number,)))
    assert f"/dead/{number}/" not in page("/jobs/job/")


@pytest.mark.django_db
def test_of_a_letter_that_has_come_again_nobody_is_said_to_have_settled_it(page: Page, ops: User) -> None:
    record([dropped()])
    letter = DeadLetter.objects.get()
    done(ops, Discard((letter.pk,)))
    address = f"/dead/{letter.pk}/"
    assert "<dt>Settled</dt>" in page(address)
    record([dropped(at=40)], producer="p2")
    assert "<dt>Settled</dt>" not in page(address)


@pytest.mark.django_db
def test_a_warning_stands_before_bytes_that_nobody_could_read(page: Page) -> None:
    record([dropped()])
    assert "come back here" in words(page("/dead/requeue/?why=unreadable"))


@pytest.mark.django_db
@pytest.mark.parametrize("asked", ["", "letter=x", "letter=99999999999999999999", "letter=1&upto=no"])
def test_a_set_that_makes_no_sense_is_refused_or_empty(page: Page, client: Client, asked: str) -> None:
    assert client.get(f"/dead/requeue/?{asked}").status_code in (200, 400, 409)


@pytest.mark.django_db
def test_frames_count_what_waits_within_their_scope(ops: User) -> None:
    from django.utils import timezone

    record([*life("job", "retry", "fail"), *unknown("gone")])
    scope = live.scope_of(ops)
    assert scope is not None
    for name in ("overview", "jobs", "queues", "workers", "schedules", "coverage"):
        frame = live.frame(live.topic_named(name, scope), 1, timezone.now())
        assert frame is not None
        assert frame["dead_letters"] == 2, name
