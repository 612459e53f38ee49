"""ORM triggers: a change of an object becomes a job of the same transaction, or the page says why not."""

from __future__ import annotations

import contextvars
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from celery.signals import task_prerun
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.db.backends.signals import connection_created
from django.db.models.signals import post_delete
from django.test import Client, RequestFactory
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from dashboard.jobs_panel import JobsPanel
from jobs import outbox
from jobs.enqueued import jobs_of
from jobs.models import Enqueued, Firing, Job, Outgoing, Trigger
from jobs.triggers.language import Unreadable, read_arguments, read_condition
from tests import tasks  # noqa: F401 the worker's, known here as well
from tests.harness import Installation, eventually
from tests.test_act import member
from tests.working import worker
from workers import triggers
from workers.dispatch import dispatcher

FIELDS = {"pk", "status", "total"}


@pytest.fixture(autouse=True)
def fresh_rules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An edit is in effect with the next change; what is enqueued stays in the outbox to be looked at."""
    monkeypatch.setattr(triggers, "KNOWN_FOR", 0.0)
    monkeypatch.setattr(dispatcher, "post", lambda rows: None)
    triggers.rules.forget()
    yield
    triggers.rules.forget()


def trigger(**given: Any) -> Trigger:
    told = {"name": "t", "model": "auth.user", "task": "tests.tasks.note", "on_create": True}
    told["arguments"] = json.dumps({"file": "=username", "text": "=email"})
    return Trigger.objects.create(**{**told, **given})


def bodies() -> list[Any]:
    return [json.loads(row.body)[1] for row in Outgoing.objects.order_by("pk")]


def outcomes() -> list[tuple[str, str]]:
    return list(Firing.objects.order_by("pk").values_list("change", "outcome"))


@pytest.mark.django_db
class TestFiring:
    def test_a_create_becomes_a_job_with_arguments_from_the_object(self) -> None:
        trigger(queue="low")
        ana = User.objects.create(username="ana", email="ana@example.com")
        assert bodies() == [{"file": "ana", "text": "ana@example.com"}]
        assert Outgoing.objects.get().queue == "low"
        assert Enqueued.objects.get().object_id == str(ana.pk)
        assert outcomes() == [("create", "fired")]

    def test_it_goes_with_the_transaction(self) -> None:
        trigger()
        with transaction.atomic():
            User.objects.create(username="ana")
            transaction.set_rollback(True)
        assert (bodies(), outcomes()) == ([], [])

    def test_updates_count_only_if_a_named_field_has_changed(self) -> None:
        trigger(on_create=False, on_update=True, fields="email, first_name")
        ana = User.objects.create(username="ana")
        ana.last_name = "Lee"
        ana.save()
        ana.email = "a@b.c"
        ana.save()
        ana.save()
        assert outcomes() == [("update", "held back"), ("update", "fired"), ("update", "held back")]
        assert Firing.objects.order_by("pk")[0].why == "none of email, first_name changed"

    def test_a_condition_may_ask_for_what_was_before(self) -> None:
        trigger(on_create=False, on_update=True, condition="is_staff and not old.is_staff")
        ana = User.objects.create(username="ana")
        for is_staff in (False, True, True):
            ana.is_staff = is_staff
            ana.save()
        assert [outcome for _, outcome in outcomes()] == ["held back", "fired", "held back"]

    def test_a_delete_fires_with_the_values_that_were(self) -> None:
        trigger(on_create=False, on_delete=True)
        ana = User.objects.create(username="ana", email="a@b.c")
        ana.delete()
        assert bodies() == [{"file": "ana", "text": "a@b.c"}]

    def test_bulk_operations_bypass_it(self) -> None:
        trigger(on_update=True)
        User.objects.bulk_create([User(username="ana")])
        User.objects.update(email="x@y.z")
        assert outcomes() == []

    def test_one_that_is_switched_off_fires_nothing(self) -> None:
        trigger(enabled=False)
        User.objects.create(username="ana")
        assert outcomes() == []

    def test_changes_that_follow_each_other_make_one_job_the_last(self) -> None:
        trigger(on_update=True, debounce=30)
        ana = User.objects.create(username="ana", email="1")
        for email in ("2", "3"):
            ana.email = email
            ana.save()
        User.objects.create(username="bo", email="b")
        assert [body["text"] for body in bodies()] == ["3", "b"]
        assert [outcome for _, outcome in outcomes()] == ["replaced", "replaced", "fired", "fired"]

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            ({"task": "tests.tasks.nota"}, "did you mean"),
            ({"arguments": '{"file": "=username"}'}, "missing 1 required"),
            ({"queue": "hihg"}, "did you mean high"),
            ({"condition": "username > 3"}, "not supported between"),
        ],
    )
    def test_one_that_is_at_fault_never_breaks_the_save_and_says_so(
        self, wrong: dict[str, str], words: str
    ) -> None:
        trigger(**wrong)
        User.objects.create(username="ana")
        firing = Firing.objects.get()
        assert firing.outcome == "failed"
        assert words in firing.why

    def test_one_that_can_not_be_read_is_passed_over(self) -> None:
        trigger(condition="nothing ==")
        User.objects.create(username="ana")
        assert outcomes() == []

    def test_a_field_that_is_not_saved_has_not_changed(self) -> None:
        trigger(on_create=False, on_update=True, fields="email", condition='email == "b"')
        ana = User.objects.create(username="ana", email="a")
        ana.email = "b"
        ana.save(update_fields=["last_name"])
        ana.save()
        assert [outcome for _, outcome in outcomes()] == ["held back", "fired"]

    def test_a_condition_asks_for_what_is_stored_not_for_what_is_in_memory(self) -> None:
        trigger(on_create=False, on_update=True, condition='email == "a"')
        ana = User.objects.create(username="ana", email="a")
        ana.email = "b"
        ana.save(update_fields=["last_name"])
        User.objects.only("last_name").get(pk=ana.pk).save()
        assert [outcome for _, outcome in outcomes()] == ["fired", "fired"]
        assert {body["text"] for body in bodies()} == {"a"}

    def test_values_are_compared_as_the_database_gives_them_back(self) -> None:
        trigger(on_create=False, on_update=True, fields="last_login")
        ana = User.objects.create(username="ana")
        ana.last_login = "2026-01-01T00:00:00+00:00"
        ana.save()
        ana.save()
        assert [outcome for _, outcome in outcomes()] == ["fired", "held back"]

    def test_a_debounced_job_is_told_to_the_record_when_it_is_published(self) -> None:
        trigger(debounce=30)
        User.objects.create(username="ana")
        assert Outgoing.objects.get().told
        assert not outbox.untold(datetime.now(UTC) + timedelta(seconds=20), 10)

    @pytest.mark.parametrize(
        "wrong", [{"arguments": '{"file": "=password", "text": ""}'}, {"condition": 'old.password != ""'}]
    )
    def test_a_secret_is_neither_handed_to_a_job_nor_asked_for(self, wrong: dict[str, str]) -> None:
        made = trigger(**wrong)
        assert "taken for a secret" in str(triggers.faults(made))
        User.objects.create(username="ana")
        assert outcomes() == []

    def test_a_fixture_that_is_loaded_fires_nothing(self) -> None:
        trigger()
        User(username="ana").save_base(raw=True)
        assert outcomes() == []


@pytest.mark.django_db(transaction=True)
def test_a_trigger_that_was_just_deleted_breaks_no_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    made = trigger()
    monkeypatch.setattr(triggers, "KNOWN_FOR", 60.0)
    User.objects.create(username="ana")
    made.delete()
    with transaction.atomic():
        User.objects.create(username="bo")
    assert User.objects.filter(username="bo").exists()


@pytest.mark.django_db
class TestListening:
    def test_django_deletes_fast_where_no_trigger_asks(self) -> None:
        trigger(model="auth.user", on_create=False, on_delete=True)
        triggers.look_up()
        assert not post_delete.has_listeners(Session)
        assert post_delete.has_listeners(User)

    def test_an_edit_is_in_effect_as_the_next_work_begins(self, client: Client) -> None:
        ana, bo = (User.objects.create(username=name) for name in ("ana", "bo"))
        made = trigger(on_create=False, on_delete=True)
        client.get("/")
        ana.delete()
        made.enabled = False
        made.save()
        task_prerun.send(sender=None)
        assert not post_delete.has_listeners(User)
        bo.delete()
        assert outcomes() == [("delete", "fired")]

    def test_a_connection_that_opens_looks_them_up(self) -> None:
        trigger(on_create=False, on_delete=True)
        connection_created.send(sender=None, connection=connection)
        assert post_delete.has_listeners(User)


@pytest.mark.django_db(transaction=True)
def test_a_trigger_runs_a_real_job_and_its_object_shows_it(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger()
    ana = User.objects.create(username="/dev/null", email="x")
    installation.monitor()
    worker(installation)
    eventually(lambda: jobs_of(ana).filter(state="succeeded").exists(), message="it ran, and is found")


@pytest.mark.django_db
class TestPages:
    def test_what_fired_and_what_did_not_is_shown(self, client: Client, ops: User) -> None:
        made = trigger(condition='username == "ana"')
        User.objects.create(username="ana")
        User.objects.create(username="<b>bo</b>")
        client.force_login(ops)
        assert b"auth.user" in client.get(reverse("triggers")).content
        page = client.get(reverse("trigger", args=[made.pk])).content.decode()
        assert "the condition does not hold" in page
        assert str(Firing.objects.exclude(task_id=None).get().task_id) in page

    def test_a_rehearsal_tries_the_latest_objects_and_enqueues_nothing(
        self, client: Client, ops: User
    ) -> None:
        made = trigger(condition='username == "ops"')
        User.objects.create(username="bo")
        before = Outgoing.objects.count()
        client.force_login(ops)
        page = client.get(reverse("trigger", args=[made.pk]), {"rehearse": "1"}).content.decode()
        assert page.count("not fire:") == 1
        assert "<b>fire</b>" in page
        assert Outgoing.objects.count() == before

    def test_to_delete_a_trigger_lists_none_of_what_it_fired(self, client: Client, ops: User) -> None:
        made = trigger()
        for number in range(3):
            User.objects.create(username=f"user {number}")
        client.force_login(ops)
        page = client.get(reverse("admin:nightdesk_jobs_trigger_delete", args=[made.pk])).content.decode()
        assert "firing" not in page.lower()

    @pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("operator", 200), ("admin", 200)])
    def test_who_may_read_the_audit_may_read_them(self, client: Client, role: str, status: int) -> None:
        client.force_login(member("ana", role))
        assert client.get(reverse("triggers")).status_code == status
        assert client.get(reverse("trigger", args=[trigger().pk])).status_code == status

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            ({"condition": "nope == 1"}, "there is no field"),
            ({"arguments": "[]"}, "not a JSON object"),
            ({"arguments": '{"file": "=nope"}'}, "there is no field"),
            ({"arguments": '{"file": 1}'}, "called so"),
            ({"fields": "nope", "on_update": "on"}, "there is no field"),
            ({"queue": "hihg"}, "did you mean high"),
            ({"on_create": ""}, "Choose create"),
        ],
    )
    def test_the_admin_keeps_none_that_could_never_fire(
        self, client: Client, ops: User, wrong: dict[str, str], words: str
    ) -> None:
        response = save(client, ops, wrong)
        assert words in response.content.decode()
        assert not Trigger.objects.exists()

    def test_the_admin_keeps_one_that_is_well(self, client: Client, ops: User) -> None:
        assert save(client, ops, {}).status_code == 302
        assert Trigger.objects.get().condition == 'username != "x"'

    def test_only_who_may_run_any_task_may_edit_them(self, client: Client) -> None:
        operator = member("ana", "operator")
        operator.is_staff = True
        operator.save()
        assert save(client, operator, {}).status_code == 403
        assert not Trigger.objects.exists()


def save(client: Client, user: User, changes: dict[str, str]) -> Any:
    client.force_login(user)
    form = {
        "name": "welcome", "enabled": "on", "model": "auth.user", "on_create": "on", "fields": "",
        "condition": 'username != "x"', "task": "tests.tasks.note", "queue": "", "delay": "0",
        "debounce": "0", "note": "", "arguments": '{"file": "=username", "text": "hello"}',
    }  # fmt: skip
    sent = {name: value for name, value in {**form, **changes}.items() if value != "" or name != "on_create"}
    return client.post(reverse("admin:nightdesk_jobs_trigger_add"), sent)


class TestLanguage:
    @pytest.mark.parametrize(
        ("text", "now", "before", "holds"),
        [
            ("", {}, None, True),
            ('status == "paid" and total >= 100', {"status": "paid", "total": 100}, None, True),
            ('status == "paid" and total >= 100', {"status": "paid", "total": 99}, None, False),
            ('status in ["a", "b"] or not total', {"status": "c", "total": 0}, None, True),
            ("0 < total < 10", {"total": 5}, None, True),
            ("0 < total < 10", {"total": 10}, None, False),
            ("status is None", {"status": None}, None, True),
            ('old.status != "paid"', {}, {"status": "new"}, True),
            ('old.status == "paid"', {}, None, False),
            ("total > -5", {"total": 0}, None, True),
        ],
    )
    def test_it_means_what_it_says(self, text: str, now: Any, before: Any, holds: bool) -> None:
        assert read_condition(text, FIELDS).holds(now, before) is holds

    @pytest.mark.parametrize(
        "text",
        [
            '__import__("os")', "status.__class__", "[x for x in status]", "total ** 99", "nope == 1",
            "status ==", "lambda: 1", '"a" * 9', 'f"{status}"', "status[0]", "(total := 3)",
            "status if total else 1", "status == " + "(" * 200, "x" * 501, "old.nope == 1", "old",
            "status\x00",
        ],
    )  # fmt: skip
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(Unreadable):
            read_condition(text, FIELDS)

    def test_a_number_that_is_none_is_at_fault(self) -> None:
        with pytest.raises(Unreadable):
            read_condition("total > 3", FIELDS).holds({"total": Decimal("NaN")}, None)

    @given(st.text(max_size=200))
    def test_no_text_does_more_than_be_refused(self, text: str) -> None:
        for read in (read_condition, read_arguments):
            try:
                read(text, FIELDS)
            except Unreadable:
                continue


class Panel(JobsPanel, admin.ModelAdmin):  # type: ignore[type-arg]
    """As a developer would have it."""


@pytest.mark.django_db
def test_the_panel_shows_each_reader_what_that_one_may_see(ops: User) -> None:
    group = Group.objects.create(name="night")
    told = {"task": "t", "state": "failed", "exception": "ValueError('card 4111')"}
    Job.objects.create(task_id="a", seen_at=datetime.now(UTC), **told)
    Enqueued.objects.create(
        task_id="a", task="t", model="auth.group", object_id=str(group.pk), at=datetime.now(UTC)
    )
    panel = Panel(Group, admin.site)
    viewer = User.objects.create_user("viewer")
    viewer.user_permissions.add(Permission.objects.get(codename="view_record"))
    pages = {user.username: contextvars.copy_context() for user in (viewer, ops)}
    for user in (viewer, ops):  # both pages begin before either is shown
        request = RequestFactory().get("/")
        request.user = user
        pages[user.username].run(panel.get_readonly_fields, request, group)
    assert "card 4111" in pages["ops"].run(panel.jobs_of_it, group)
    shown = pages["viewer"].run(panel.jobs_of_it, group)
    assert "ValueError" in shown
    assert "4111" not in shown


def test_groups_are_left_alone(db: None) -> None:
    trigger(model="auth.group", arguments='{"file": "=name", "text": "x"}')
    Group.objects.create(name="night")
    assert bodies() == [{"file": "night", "text": "x"}]
