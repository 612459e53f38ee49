"""Acknowledging, silencing and noting alerts, and editing rules: through the one door, and through forms."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import orjson
import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone

from jobs.alert_frame import alerts
from jobs.models import Alert, AlertChange, Channel, Notice, Rule
from jobs.models.alerts import Kind
from jobs.perform import Actor, Subject, perform
from tests.alerting import a_rule, an_alert, resolved
from tests.api import account
from workers.commands.alerts import Acknowledge, Note, OfAnAlert, Silence, Unsilence
from workers.commands.rules import DisableRule, SaveRule

pytestmark = pytest.mark.django_db
What = AlertChange.What


@pytest.fixture
def alert(db: None) -> Alert:
    """One that fires, of which a channel was told."""
    rule = a_rule(Kind.DEPTH)
    rule.channels.add(Channel.objects.create(name="ops"))
    return an_alert(rule, timezone.now(), "high", queue="high")


def do(user: User, command: Any, reason: str = "") -> Any:
    return perform(Actor(user, "page"), command, reason)


def life(alert: Alert) -> list[tuple[str, str, str]]:
    return list(alert.changes.values_list("what", "who", "detail"))


def test_who_acknowledges_stands_on_the_alert_and_in_its_history_and_channels_are_told(
    ops: User, alert: Alert
) -> None:
    Notice.objects.create(
        channel=Channel.objects.get(), alert=alert, event="firing", at=alert.since, next_try=alert.since,
        delivered_at=alert.since,
    )  # fmt: skip
    assert do(ops, Acknowledge(alert.pk), "on it").outcome == "done"
    alert.refresh_from_db()
    assert (alert.acknowledged_by, alert.state) == ("ops", "firing")
    assert life(alert)[-1] == (What.ACKNOWLEDGED, "ops", "on it")
    assert list(Notice.objects.order_by("pk").values_list("event", flat=True)) == ["firing", "acknowledged"]


@pytest.mark.parametrize(
    "command", [Acknowledge, partial(Silence, lasts=60.0), Unsilence, partial(Note, text="x")]
)
def test_one_that_is_gone_meanwhile_is_missing(
    ops: User, alert: Alert, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The monitor forgets what was pending and didn't last."""
    subject = OfAnAlert.subject

    def then_gone(self: OfAnAlert, user: User) -> Subject:
        found = subject(self, user)
        Alert.objects.all().delete()
        return found

    monkeypatch.setattr(OfAnAlert, "subject", then_gone)
    assert do(ops, command(alert.pk)).refusal == "missing"


def test_an_alert_is_acknowledged_once(ops: User, alert: Alert) -> None:
    do(ops, Acknowledge(alert.pk))
    again = do(User.objects.create_superuser("bo"), Acknowledge(alert.pk))
    assert (again.refusal, again.detail) == ("acknowledged", "ops has acknowledged it already.")
    assert Alert.objects.get().acknowledged_by == "ops"


@pytest.mark.parametrize(("state", "why"), [("pending", "pending"), ("resolved", "resolved")])
def test_only_what_fires_can_be_acknowledged(ops: User, alert: Alert, state: str, why: str) -> None:
    Alert.objects.update(state=state)
    assert do(ops, Acknowledge(alert.pk)).refusal == why
    assert Alert.objects.get().acknowledged_at is None


def test_a_silenced_alert_does_not_count_until_it_is_lifted(ops: User, alert: Alert) -> None:
    assert do(ops, Silence(alert.pk, lasts=3600.0), "deploying").outcome == "done"
    now = timezone.now()
    assert [alerts(1, "all", now)[name] for name in ("firing", "silenced")] == [0, 1]
    assert alerts(1, "all", now + timedelta(minutes=61))["firing"] == 1
    assert do(ops, Unsilence(alert.pk)).outcome == "done"
    assert alerts(1, "all", now)["firing"] == 1
    assert [what for what, _, _ in life(alert)][-2:] == [What.SILENCED, What.UNSILENCED]
    assert do(ops, Unsilence(alert.pk)).refusal == "not_silenced"


@pytest.mark.parametrize("terms", [{}, {"lasts": 0.0}, {"lasts": -5.0}, {"lasts": 31 * 86_400.0}])
def test_a_silence_has_an_end_within_30_days(ops: User, alert: Alert, terms: dict[str, Any]) -> None:
    assert do(ops, Silence(alert.pk, **terms)).refusal == "until"
    past = timezone.now() - timedelta(minutes=1)
    assert do(ops, Silence(alert.pk, until=past)).refusal == "until"


def test_a_note_is_kept_also_after_the_end(ops: User, alert: Alert) -> None:
    resolved(alert, timezone.now())
    assert do(ops, Note(alert.pk, "the \x00partner was down")).outcome == "done"
    assert Alert.objects.get().note == "the \ufffdpartner was down"
    assert do(ops, Note(alert.pk, "x" * 501)).refusal == "form"


def test_nobody_acts_on_what_they_may_not_see(alert: Alert) -> None:
    assert do(User.objects.create_user("nobody"), Acknowledge(alert.pk)).refusal == "missing"
    assert Alert.objects.get().acknowledged_at is None


# Through forms, without script


def test_a_form_acknowledges_and_leads_to_the_alert(visitor: Client, alert: Alert) -> None:
    page = visitor.get("/alerts/").content.decode()
    assert f'action="/alerts/{alert.pk}/acknowledge/"' in page
    answer = visitor.post(f"/alerts/{alert.pk}/acknowledge/", {"once": "a-form-of-mine"}, follow=True)
    assert answer.redirect_chain == [(f"/alerts/{alert.pk}/", 302)]
    assert "ops</b> is on it" in answer.content.decode()


def test_a_form_silences_until_a_moment(visitor: Client, alert: Alert) -> None:
    address = f"/alerts/{alert.pk}/silence/"
    assert visitor.post(address, {"once": "a-form-of-mine", "lasts": "until"}).status_code == 400
    visitor.post(address, {"once": "a-form-of-mine", "lasts": "until", "until": "2026-01-01T00:00"})
    assert Alert.objects.get().silenced_until is None
    visitor.post(address, {"once": "another-form", "lasts": "900", "reason": "<b>"})
    assert Alert.objects.get().silenced_by == "ops"
    assert "&lt;b&gt;" in visitor.get(f"/alerts/{alert.pk}/").content.decode()


# Rules


def form_of(visitor: Client, address: str) -> dict[str, Any]:
    """What a browser would send back if nobody changed anything."""
    form = visitor.get(address).context["form"]
    shown = {field.name: field.value() for field in form}
    return {name: value for name, value in shown.items() if value not in (None, [])}


def test_a_rule_is_edited_in_its_own_words(visitor: Client) -> None:
    rule = a_rule(Kind.FAILURE_SHARE, params={"more_than": 0.1})
    address = f"/alerts/rules/{rule.pk}/"
    form = form_of(visitor, address)
    assert form["param-more_than"] == 10
    sent = {
        **form,
        "param-more_than": "12.5",
        "quiet_from": "22:00",
        "quiet_until": "06:30",
        "once": "my-form-1",
    }
    assert visitor.post(address, sent).status_code == 302
    rule.refresh_from_db()
    assert rule.params["more_than"] == 0.125
    assert str(rule.quiet_from) == "22:00:00"
    assert rule.params["by"] == "task"


def test_what_makes_no_rule_is_said_at_the_field(visitor: Client) -> None:
    rule = a_rule(Kind.FAILURE_SHARE)
    address = f"/alerts/rules/{rule.pk}/"
    answer = visitor.post(
        address, {**form_of(visitor, address), "param-more_than": "400", "once": "my-form-2"}
    )
    assert answer.status_code == 400
    assert "less than or equal to 100" in answer.content.decode()
    assert Rule.objects.get(pk=rule.pk).params == {}


def test_a_new_rule_begins_with_its_kind(visitor: Client) -> None:
    kinds = visitor.get("/alerts/rules/new/").content.decode()
    assert "/alerts/rules/new/?kind=no%20success" in kinds
    address = "/alerts/rules/new/?kind=no%20success"
    team = Group.objects.create(name="payments")
    form = {**form_of(visitor, address), "title": "no export", "tasks": "shop.export", "team": team.pk}
    assert visitor.post(address, {**form, "once": "my-form-3"}).status_code == 302
    made = Rule.objects.get(name="no export")
    assert (made.kind, made.tasks, made.team, made.params["seconds"]) == (
        Kind.NO_SUCCESS, "shop.export", team, 3600.0,
    )  # fmt: skip


def test_a_rule_that_is_tried_is_not_saved(visitor: Client) -> None:
    rule = a_rule(Kind.NO_CONSUMER)
    address = f"/alerts/rules/{rule.pk}/"
    tried = {**form_of(visitor, address), "title": "another", "step": "try", "once": "my-form-4"}
    assert "can&#x27;t be tried on the past" in visitor.post(address, tried).content.decode()
    assert Rule.objects.get(pk=rule.pk).name != "another"


def test_a_rule_is_tried_by_those_who_may_save_it_alone(visitor: Client) -> None:
    address = f"/alerts/rules/{a_rule(Kind.DEPTH).pk}/"
    tried = {**form_of(visitor, address), "step": "try", "once": "my-form-5"}
    assert visitor.post(address, tried).context["trial"] is not None
    visitor.force_login(account("vi", "viewer"))
    assert visitor.post(address, tried).context["trial"] is None


def test_a_program_changes_what_it_names_alone(ops: User) -> None:
    rule = a_rule(Kind.DEPTH, note="mine", escalate_after=60)
    saved = do(ops, SaveRule(rule=rule.pk, escalate_after=0.0, quiet_zone="Europe/Paris"))
    assert orjson.loads(saved.before)["escalate_after"] == 60
    rule.refresh_from_db()
    assert (rule.note, rule.escalate_after, rule.quiet_zone) == ("mine", None, "Europe/Paris")


@pytest.mark.parametrize(
    "wrong",
    [
        {"quiet_zone": "Mars/Base"},
        {"quiet_from": "25:00"},
        {"params": {"more_than": "many"}},
        {"params": {"unheard": 1}},
        {"kind": "slow"},
        {"team": "nobody"},
        {"channels": [999]},
        {"severity": "loud"},
        {"title": ""},
        {"runbook_url": "javascript:alert(1)"},
    ],
)
def test_what_makes_no_sense_is_refused_with_a_line(ops: User, wrong: dict[str, Any]) -> None:
    rule = a_rule(Kind.DEPTH)
    action = do(ops, SaveRule(rule=rule.pk, **wrong))
    assert action.refusal in ("form", "kind"), wrong
    assert action.detail
    assert Rule.objects.get(pk=rule.pk).name == rule.name


def test_a_rule_is_switched_off_on_its_page(visitor: Client) -> None:
    rule = a_rule(Kind.DEPTH)
    visitor.post(f"/alerts/rules/{rule.pk}/disable/", {"once": "my-form-5"})
    assert not Rule.objects.get(pk=rule.pk).enabled
    assert "Switched off" in visitor.get("/alerts/rules/").content.decode()
    visitor.post(f"/alerts/rules/{rule.pk}/enable/", {"once": "my-form-6"})
    assert Rule.objects.get(pk=rule.pk).enabled


def test_rules_are_edited_in_the_admin_and_audited(visitor: Client) -> None:
    rule = a_rule(Kind.DEPTH)
    address = f"/admin/nightdesk_jobs/rule/{rule.pk}/change/"
    form = visitor.get(address).context["adminform"].form
    sent = {name: value for name, value in form.initial.items() if value is not None}
    sent |= {"params": '{"more_than": "x"}', "channels": [], "escalation_channels": []}
    assert "is not a number" in visitor.post(address, sent).content.decode()
    assert visitor.post(address, {**sent, "params": '{"more_than": 5}'}).status_code == 302
    assert Rule.objects.get(pk=rule.pk).params == {"more_than": 5}
    assert visitor.get("/audit/?command=admin.change").content.decode().count("admin.change") > 1


def test_a_rule_that_came_with_the_product_is_not_deleted(visitor: Client) -> None:
    rule = a_rule(Kind.DEPTH, built_in="mine")
    assert visitor.post(f"/admin/nightdesk_jobs/rule/{rule.pk}/delete/", {"post": "yes"}).status_code == 403
    assert Rule.objects.filter(pk=rule.pk).exists()


def test_a_rule_that_is_not_there_is_not_switched_off(ops: User) -> None:
    rule = a_rule(Kind.DEPTH)
    assert do(ops, DisableRule(rule.pk)).outcome == "done"
    assert do(ops, DisableRule(10_000)).refusal == "missing"
