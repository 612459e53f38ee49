"""What is edited in the admin: by whom, within which reach, never while read-only, all of it in the audit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask

from dashboard.admin import ReadOnlyAdmin
from dashboard.admin_audit import Audited
from jobs.models import Action, Reach, SchedulePolicy, Token
from tests.api import account, token_of

pytestmark = pytest.mark.django_db
SCHEDULES = "/admin/django_celery_beat/periodictask/"


@pytest.fixture
def often() -> IntervalSchedule:
    return IntervalSchedule.objects.create(every=5, period=IntervalSchedule.MINUTES)


@pytest.fixture
def schedule(often: IntervalSchedule) -> PeriodicTask:
    return PeriodicTask.objects.create(name="nightly", task="shop.report", queue="low", interval=often)


@pytest.fixture
def editor(client: Client) -> User:
    """Of the role that may edit schedules, and let into the admin."""
    user = User.objects.create_user("ana", is_staff=True)
    user.groups.add(Group.objects.get(name="admin"))
    client.force_login(user)
    return user


def form(schedule: PeriodicTask | None, often: IntervalSchedule, **changed: str) -> dict[str, str]:
    """What the page of a schedule sends."""
    told = {
        "name": schedule.name if schedule else "hourly", "task": "shop.report", "enabled": "on",
        "interval": str(often.pk), "args": "[]", "kwargs": "{}", "headers": "{}", "queue": "low",
        "policy-TOTAL_FORMS": "0", "policy-INITIAL_FORMS": "0",
    }  # fmt: skip
    return told | changed


def policy(schedule: PeriodicTask, **wished: str) -> dict[str, str]:
    """The part of that page that says what is wished of a schedule."""
    told = {"overlap": "allow", "catch_up": "once", "jitter": "0", "owner": "", "note": ""} | wished
    return {
        "policy-TOTAL_FORMS": "1",
        "policy-INITIAL_FORMS": str(SchedulePolicy.objects.filter(schedule=schedule).count()),
        "policy-0-schedule": str(schedule.pk),
        **{f"policy-0-{name}": value for name, value in told.items()},
    }


def address(schedule: PeriodicTask, what: str = "change") -> str:
    return f"{SCHEDULES}{schedule.pk}/{what}/"


def told(action: Action) -> tuple[str, str, str, str, str | None]:
    return action.command, action.target_kind, action.who, action.outcome, action.refusal


def test_each_table_is_either_for_reading_or_audited() -> None:
    forgotten = [
        model.__name__
        for model, its in admin.site._registry.items()
        if model._meta.app_label != "shop"  # the guide's, not ours
        and not isinstance(its, ReadOnlyAdmin | Audited)
    ]
    assert forgotten == []


def test_a_schedule_that_is_edited_shows_before_and_after(
    client: Client, editor: User, schedule: PeriodicTask, often: IntervalSchedule
) -> None:
    answer = client.post(
        address(schedule), form(schedule, often, kwargs='{"month": 3}'), REMOTE_ADDR="192.0.2.7"
    )
    assert answer.status_code == 302
    action = Action.objects.get()
    assert told(action) == ("admin.change", "periodictask", "ana", "done", None)
    assert (action.via, action.address, action.task, action.queue) == (
        "admin",
        "192.0.2.7",
        "shop.report",
        "low",
    )
    assert orjson.loads(action.before or "")["kwargs"] == "{}"
    assert orjson.loads(action.after or "")["kwargs"] == '{"month": 3}'


def test_what_is_wished_of_a_schedule_is_edited_with_it_and_shown_in_the_audit(
    client: Client, editor: User, schedule: PeriodicTask, often: IntervalSchedule
) -> None:
    for wished in ({"overlap": "skip", "jitter": "30"}, {"overlap": "queue", "owner": "reports"}):
        sent = form(schedule, often) | policy(schedule, **wished)
        assert client.post(address(schedule), sent).status_code == 302
    kept = SchedulePolicy.objects.get(schedule=schedule)
    assert (kept.overlap, kept.jitter, kept.owner) == ("queue", 0.0, "reports")
    first, second = Action.objects.order_by("pk")
    assert orjson.loads(first.after or "")["policy"][0]["jitter"] == 30.0
    assert orjson.loads(second.before or "")["policy"][0]["overlap"] == "skip"
    assert orjson.loads(second.after or "")["policy"][0]["overlap"] == "queue"


def test_a_wish_that_no_schedule_can_have_is_refused(
    client: Client, editor: User, schedule: PeriodicTask, often: IntervalSchedule
) -> None:
    for jitter in ("-1", "3601", "nan"):
        answer = client.post(address(schedule), form(schedule, often) | policy(schedule, jitter=jitter))
        assert answer.status_code == 200, jitter
    assert not SchedulePolicy.objects.exists()
    assert not Action.objects.exists()


def test_adding_and_deleting_are_written_down(
    client: Client, editor: User, schedule: PeriodicTask, often: IntervalSchedule
) -> None:
    assert client.post(f"{SCHEDULES}add/", form(None, often)).status_code == 302
    assert client.post(address(schedule, "delete"), {"post": "yes"}).status_code == 302
    chosen = {"action": "delete_selected", "_selected_action": [PeriodicTask.objects.get().pk], "post": "yes"}
    assert client.post(SCHEDULES, chosen).status_code == 302
    commands = list(Action.objects.order_by("pk").values_list("command", flat=True))
    assert commands == ["admin.add", "admin.delete", "admin.delete"]
    assert not PeriodicTask.objects.exists()


@pytest.mark.parametrize(("name", "on"), [("enable_tasks", True), ("disable_tasks", False)])
def test_switching_several_is_written_down_for_each(
    client: Client, editor: User, schedule: PeriodicTask, name: str, on: bool
) -> None:
    PeriodicTask.objects.update(enabled=not on)
    client.post(SCHEDULES, {"action": name, "_selected_action": [schedule.pk]})
    schedule.refresh_from_db()
    assert schedule.enabled is on
    action = Action.objects.get()
    assert (action.before, action.after) == (
        orjson.dumps({"enabled": not on}).decode(),
        orjson.dumps({"enabled": on}).decode(),
    )


def test_what_is_switched_on_among_several_counts_from_now_on(
    client: Client, editor: User, schedule: PeriodicTask
) -> None:
    long_ago = timezone.now() - timedelta(days=7)
    PeriodicTask.objects.update(enabled=False, date_changed=long_ago)
    on = PeriodicTask.objects.create(name="on", task="shop.report", interval=schedule.interval)
    PeriodicTask.objects.filter(pk=on.pk).update(date_changed=long_ago)
    client.post(SCHEDULES, {"action": "enable_tasks", "_selected_action": [schedule.pk, on.pk]})
    schedule.refresh_from_db()
    on.refresh_from_db()
    assert schedule.date_changed > timezone.now() - timedelta(minutes=1)
    assert on.date_changed == long_ago


def test_the_admin_asks_no_broker(client: Client, editor: User, schedule: PeriodicTask) -> None:
    assert "run_tasks" not in client.get(SCHEDULES).content.decode()


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_other_roles_edit_no_schedule(
    client: Client, schedule: PeriodicTask, often: IntervalSchedule, role: str
) -> None:
    user = User.objects.create_user("bo", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client.force_login(user)
    assert client.get(SCHEDULES).status_code == 403
    assert client.post(address(schedule), form(schedule, often)).status_code == 403
    assert told(Action.objects.get()) == ("admin.change", "periodictask", "bo", "refused", "permission")


def test_a_reach_bounds_schedules(
    client: Client, editor: User, schedule: PeriodicTask, often: IntervalSchedule
) -> None:
    foreign = PeriodicTask.objects.create(name="theirs", task="bank.pay", queue="high", interval=often)
    Reach.objects.create(user=editor, queues="low")
    assert "theirs" not in client.get(SCHEDULES).content.decode()
    assert "theirs" not in client.get("/schedules/").content.decode()
    assert "nightly" in client.get("/schedules/").content.decode()
    assert client.get(address(foreign)).status_code in (302, 403)
    assert client.post(address(schedule), form(schedule, often, queue="high")).status_code == 403
    schedule.refresh_from_db()
    assert schedule.queue == "low"


def test_nothing_is_edited_while_the_installation_is_read_only(
    client: Client, ops: User, schedule: PeriodicTask, often: IntervalSchedule, settings: Any
) -> None:
    settings.READ_ONLY = True
    client.force_login(ops)
    assert client.get(SCHEDULES).status_code == 200
    assert client.post(address(schedule), form(schedule, often, kwargs='{"a": 1}')).status_code == 403
    assert client.post(address(schedule, "delete"), {"post": "yes"}).status_code == 403
    client.post(SCHEDULES, {"action": "disable_tasks", "_selected_action": [schedule.pk]})
    assert client.post("/admin/auth/user/add/", {"username": "x"}).status_code == 403
    schedule.refresh_from_db()
    assert (schedule.kwargs, schedule.enabled) == ("{}", True)
    assert set(Action.objects.values_list("refusal", flat=True)) == {"read_only"}
    page = client.get("/schedules/").content.decode()
    assert 'aria-disabled="true"' in page
    assert "This installation is read-only." in page


def test_an_edited_account_is_in_the_audit_without_its_password(client: Client, ops: User) -> None:
    client.force_login(ops)
    secret = {"password1": "correct-horse-battery", "password2": "correct-horse-battery"}
    inline = {"reach_set-TOTAL_FORMS": "0", "reach_set-INITIAL_FORMS": "0"}
    made = {"username": "bo", "usable_password": "true", **secret, **inline}
    assert client.post("/admin/auth/user/add/", made).status_code == 302
    bo = User.objects.get(username="bo")
    assert (
        client.post(f"/admin/auth/user/{bo.pk}/password/", {**secret, "usable_password": "true"}).status_code
        == 302
    )
    reach = {
        "reach_set-TOTAL_FORMS": "1", "reach_set-INITIAL_FORMS": "0", "reach_set-0-queues": "low",
        "reach_set-0-tasks": "shop.*", "username": "bo", "is_active": "on", "date_joined_0": "2026-11-21",
        "date_joined_1": "03:00:00", "groups": [Group.objects.get(name="viewer").pk],
    }  # fmt: skip
    assert client.post(f"/admin/auth/user/{bo.pk}/change/", reach).status_code == 302
    rows = Action.objects.order_by("pk")
    assert [row.command for row in rows] == ["admin.add", "admin.change", "admin.change"]
    assert "correct-horse" not in str(list(rows.values()))
    assert "secret to sign in" in (rows[1].after or "")
    after = orjson.loads(rows[2].after or "")
    assert after["groups"] == ["viewer"]
    assert after["reaches"][0]["queues"] == "low"
    assert Reach.objects.get().user == bo


def test_a_change_that_fails_leaves_no_line_in_the_audit(
    client: Client,
    editor: User,
    schedule: PeriodicTask,
    often: IntervalSchedule,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr("django.contrib.admin.models.LogEntryManager.log_actions", fail)
    with pytest.raises(RuntimeError):
        client.post(address(schedule), form(schedule, often, kwargs='{"a": 1}'))
    schedule.refresh_from_db()
    assert (Action.objects.count(), schedule.kwargs) == (0, "{}")


@pytest.mark.parametrize("table", ["job", "action", "worker", "quarantine", "gap"])
def test_tables_of_the_record_are_for_who_may_see_all_of_it(client: Client, editor: User, table: str) -> None:
    assert client.get(f"/admin/nightdesk_jobs/{table}/").status_code == 200
    Reach.objects.create(user=editor, queues="low")
    assert client.get(f"/admin/nightdesk_jobs/{table}/").status_code == 403


def test_the_audit_in_the_admin_is_for_who_may_read_it(client: Client) -> None:
    user = User.objects.create_user("vera", is_staff=True)
    user.groups.add(Group.objects.get(name="viewer"))
    client.force_login(user)
    assert client.get("/admin/nightdesk_jobs/job/").status_code == 200
    assert client.get("/admin/nightdesk_jobs/action/").status_code == 403
    user.groups.add(Group.objects.get(name="operator"))
    assert client.get("/admin/nightdesk_jobs/action/").status_code == 200


@pytest.mark.parametrize("chosen_from_the_list", [True, False])
def test_an_account_with_a_token_can_be_deleted(
    client: Client, ops: User, chosen_from_the_list: bool
) -> None:
    gone = account("gone", "viewer")
    token_of(gone)
    client.force_login(ops)
    sent: dict[str, Any] = {"post": "yes"}
    if chosen_from_the_list:
        sent |= {"action": "delete_selected", "_selected_action": [gone.pk]}
    where = "/admin/auth/user/" if chosen_from_the_list else f"/admin/auth/user/{gone.pk}/delete/"
    assert client.post(where, sent).status_code == 302
    assert not User.objects.filter(username="gone").exists()
    assert not Token.objects.exists()


@pytest.mark.parametrize(
    ("kind", "when"),
    [
        ("interval", IntervalSchedule(every=5, period="minutes")),
        ("crontab", CrontabSchedule(minute="5")),
        ("clocked", ClockedSchedule(clocked_time=datetime(2030, 1, 1, tzinfo=UTC))),
    ],
)
def test_when_a_foreign_schedule_is_due_is_not_changed(
    client: Client, editor: User, kind: str, when: Any
) -> None:
    when = type(when).objects.create(**{f.name: getattr(when, f.name) for f in when._meta.fields[1:]})
    once = {"one_off": kind == "clocked"}
    PeriodicTask.objects.create(name="theirs", task="bank.pay", queue="bank", **{kind: when}, **once)
    Reach.objects.create(user=editor, queues="low", tasks="shop.*")
    table = f"/admin/django_celery_beat/{when._meta.model_name}/"
    assert client.get(table).status_code == 200
    assert client.post(f"{table}{when.pk}/change/", {"every": "1", "period": "seconds"}).status_code == 403
    assert client.post(f"{table}{when.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post(table, {"action": "delete_selected", "_selected_action": [when.pk], "post": "yes"})
    assert PeriodicTask.objects.filter(name="theirs").exists()
    Reach.objects.update(queues="low, bank", tasks="*")
    assert client.post(f"{table}{when.pk}/delete/", {"post": "yes"}).status_code == 302


SECRETS = {"old_password": "a long night at the desk", "new_password1": "owls-9", "new_password2": "owls-9"}


def test_a_new_password_of_ones_own_is_written_down(client: Client, ops: User, settings: Any) -> None:
    settings.AUTH_PASSWORD_VALIDATORS = []
    client.force_login(ops)
    assert client.post("/admin/password_change/", {**SECRETS, "old_password": "wrong"}).status_code == 200
    assert not Action.objects.exists()
    assert client.post("/admin/password_change/", SECRETS).status_code == 302
    ops.refresh_from_db()
    assert ops.check_password("owls-9")
    action = Action.objects.get()
    assert told(action) == ("account.password", "account", "ops", "done", None)
    assert "owls" not in str(action.__dict__)


def test_no_password_is_changed_while_the_installation_is_read_only(
    client: Client, ops: User, settings: Any
) -> None:
    settings.READ_ONLY = True
    client.force_login(ops)
    assert client.post("/admin/password_change/", SECRETS).status_code == 403
    ops.refresh_from_db()
    assert ops.check_password("a long night at the desk")
    assert told(Action.objects.get()) == ("account.password", "account", "ops", "refused", "read_only")


CRONTABS = "/admin/django_celery_beat/crontabschedule/"


def fields_of(cron: CrontabSchedule, **changed: str) -> dict[str, str]:
    names = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week", "timezone")
    return {name: str(getattr(cron, name)) for name in names} | changed


@pytest.mark.parametrize(
    "changed",
    [
        {"minute": "1--100000000"},
        {"minute": "1-100000000"},
        {"hour": "*/0"},
        {"day_of_month": "30", "month_of_year": "2"},
        {"day_of_week": "7"},
        {"minute": ",".join(["0-59"] * 40)},
    ],
)
def test_what_beat_could_not_run_is_refused_at_once(
    client: Client, editor: User, changed: dict[str, str]
) -> None:
    if changed.get("minute", "").startswith("0-59"):
        changed = {"minute": changed["minute"] + ",x"}
    cron = CrontabSchedule.objects.create(minute="5")
    for where in (f"{CRONTABS}{cron.pk}/change/", f"{CRONTABS}add/"):
        answer = client.post(where, fields_of(cron, **changed))
        assert (answer.status_code, "errornote" in answer.content.decode()) == (200, True)
    cron.refresh_from_db()
    assert (cron.minute, CrontabSchedule.objects.count()) == ("5", 1)
    assert client.post(f"{CRONTABS}{cron.pk}/change/", fields_of(cron, minute="6")).status_code == 302


def test_a_schedule_whose_arguments_are_no_arguments_is_refused(
    client: Client, editor: User, schedule: PeriodicTask, often: IntervalSchedule
) -> None:
    answer = client.post(address(schedule), form(schedule, often, args="{}"))
    assert (answer.status_code, "args is not a JSON list" in answer.content.decode()) == (200, True)
    assert not Action.objects.exists()


def test_a_crontab_that_several_share_is_changed_for_none_by_accident(client: Client, editor: User) -> None:
    cron = CrontabSchedule.objects.create(minute="5")
    for name in ("one", "two"):
        PeriodicTask.objects.create(name=name, task="shop.report", queue="low", crontab=cron)
    answer = client.post(f"{CRONTABS}{cron.pk}/change/", fields_of(cron, minute="6"))
    assert (answer.status_code, "2 schedules share this one" in answer.content.decode()) == (200, True)
    cron.refresh_from_db()
    assert cron.minute == "5"
