"""People are told of alerts: once each, in one message, whoever else hangs, and secrets are never shown."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_string, policy
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, transaction
from django.db.models import ProtectedError
from django.test import Client, override_settings

from jobs.alerts.notices import put
from jobs.models import Action, Channel, Notice
from jobs.perform import Actor, perform
from tests.api import account
from tests.channels import Desk, a_channel, a_desk, a_rule, all_due, fire, resolve
from tests.harness import Installation, eventually
from tests.receivers import Received, mail, mute, web
from workers.commands.channels import TestChannel
from workers.monitor import notify
from workers.notify import desk as desks
from workers.notify import places, texts
from workers.notify.letter import Outcome

pytestmark = pytest.mark.django_db
TOKEN = "t0ken-of-ours"
SECRETS = {"default": "a secret for receivers"}


@pytest.fixture
def nearby(settings: Any) -> Any:
    """Plain HTTP to this machine is allowed."""
    settings.WEBHOOK_ALLOW = frozenset({"http", "private"})
    settings.WEBHOOK_SECRETS = SECRETS
    return settings


@pytest.fixture
def desk(nearby: Any) -> Iterator[Desk]:
    with a_desk() as desk:
        yield desk


def hook(received: Received, name: str = "", **fields: Any) -> Channel:
    return a_channel("webhook", f"http://127.0.0.1:{received.port}/hook/{TOKEN}", name, **fields)


def told(received: Received) -> list[dict[str, Any]]:
    """The messages that came, as JSON."""
    return [json.loads(body) for _, _, body in received.requests]


def events(received: Received) -> list[tuple[str, list[str]]]:
    return [(each["event"], [alert["key"] for alert in each["alerts"]]) for each in told(received)]


class TestOnce:
    def test_a_channel_is_told_once_of_each_event(self, desk: Desk) -> None:
        with web() as received:
            hook(received)
            (alert,) = fire("low")
            put(alert, "firing")
            desk.round()
            desk.round()
            resolve(alert)
            desk.round()
        assert events(received) == [("firing", ["low"]), ("resolved", ["low"])]
        assert Notice.objects.filter(delivered_at=None).count() == 0

    def test_what_a_rule_finds_together_goes_in_one_message(self, desk: Desk) -> None:
        with web() as received:
            hook(received)
            fire("low", "high", "default")
            fire("mail", rule=a_rule("No consumer"))
            desk.round()
            desk.round()
        assert sorted(events(received)) == [("firing", ["low", "high", "default"]), ("firing", ["mail"])]

    def test_what_is_over_before_anybody_was_told_is_told_to_nobody(self, desk: Desk) -> None:
        with web() as received:
            hook(received)
            (alert,) = fire("low")
            resolve(alert)
            desk.round()
        assert received.requests == []
        assert Notice.objects.get().given_up_at is not None

    def test_that_it_is_over_waits_until_it_was_told_that_it_fires(self, desk: Desk) -> None:
        with web(500, 500) as received:
            hook(received)
            (alert,) = fire("low")
            desk.round()
            resolve(alert)
            for _ in range(3):
                desk.round()
        assert [event for event, _ in events(received)] == ["firing", "firing", "firing", "resolved"]

    def test_the_change_and_its_notices_are_written_together_or_not_at_all(self) -> None:
        a_channel("email", "ana@example.com")
        with transaction.atomic():
            fire("low")
            transaction.set_rollback(True)
        assert Notice.objects.count() == 0


class TestWhom:
    def test_a_rule_that_names_channels_tells_those_and_no_default(self) -> None:
        mine = a_channel("email", "ana@example.com", "mine", default=False)
        a_channel("email", "bo@example.com", "everybody")
        rule = a_rule()
        rule.channels.add(mine)
        fire("low", rule=rule)
        assert [notice.channel for notice in Notice.objects.all()] == [mine]

    def test_a_rule_whose_channels_are_all_off_is_not_told_to_others(self) -> None:
        mine = a_channel("email", "ana@example.com", "mine", enabled=False)
        a_channel("email", "bo@example.com", "everybody")
        rule = a_rule()
        rule.channels.add(mine)
        fire("low", rule=rule)
        assert not Notice.objects.exists()

    def test_a_default_of_a_team_is_told_of_the_rules_of_that_team(self) -> None:
        team, other = (Group.objects.create(name=name) for name in ("shop", "bank"))
        a_channel("email", "ana@example.com", "shop", team=team)
        a_channel("email", "bo@example.com", "bank", team=other)
        fire("low", rule=a_rule(team=team))
        assert [notice.channel.name for notice in Notice.objects.all()] == ["shop"]

    def test_a_team_is_not_deleted_before_the_channel_that_would_then_be_told_of_everything(self) -> None:
        team = Group.objects.create(name="shop")
        channel = a_channel("email", "ana@example.com", "shop", team=team)
        with pytest.raises(ProtectedError):
            team.delete()
        channel.delete()
        team.delete()

    def test_an_escalation_goes_to_its_own_channels_and_they_hear_how_it_ends(self, desk: Desk) -> None:
        with web() as first, web() as boss:
            hook(first, "first")
            rule = a_rule()
            rule.escalation_channels.add(hook(boss, "boss", default=False))
            (alert,) = fire("low", rule=rule)
            desk.round()
            put(alert, "escalated")
            desk.round()
            put(alert, "acknowledged")
            desk.round()
            resolve(alert)
            desk.round()
        assert [event for event, _ in events(first)] == ["firing", "acknowledged", "resolved"]
        assert [event for event, _ in events(boss)] == ["escalated", "acknowledged", "resolved"]


class TestTrouble:
    def test_a_server_at_fault_is_asked_again_with_the_same_message(self, desk: Desk) -> None:
        with web(500, 503) as received:
            channel = hook(received)
            fire("low")
            desk.round()
            channel.refresh_from_db()
            assert (channel.failing_since is not None, "500" in channel.last_error) == (True, True)
            fire("high")  # which does not go into the message that was begun
            for _ in range(4):
                desk.round()
        assert sorted(keys for _, keys in events(received)) == [["high"], ["low"], ["low"], ["low"]]
        again = [headers for (_, headers, _), each in zip(received.requests, told(received), strict=True)
                 if each["alerts"][0]["key"] == "low"]  # fmt: skip
        assert len({headers["Nightdesk-Delivery"] for headers in again}) == 1
        assert [headers["Nightdesk-Attempt"] for headers in again] == ["1", "2", "3"]
        assert {headers["Nightdesk-Repeat"] for headers in again} == {"no"}
        channel.refresh_from_db()
        assert (channel.failing_since, channel.last_error) == (None, "")

    def test_a_failed_one_goes_again_after_a_pause(self, desk: Desk) -> None:
        with web(500) as received:
            channel = hook(received)
            fire("low")
            desk.round()
            channel.refresh_from_db()
            assert channel.failing_since is not None
            pause = Notice.objects.get().next_try - channel.failing_since
            assert pause == timedelta(seconds=5)
            desk.go()
            assert desk.collect()
        assert len(received.requests) == 1

    def test_old_news_are_given_up(self, desk: Desk) -> None:
        with web(500) as received:
            hook(received)
            fire("low")
            Notice.objects.update(at=datetime.now(UTC) - timedelta(hours=13))
            desk.round()
            desk.round()
        assert len(received.requests) == 1
        assert Notice.objects.get().given_up_at is not None

    def test_a_receiver_that_hangs_delays_nobody_else(self, desk: Desk) -> None:
        over = threading.Event()
        with mute(over) as hangs, web() as received:
            for number in range(3):
                hook(hangs, f"a hanging one {number}")
            hook(received, "one that answers")

            def is_told(times: int) -> bool:
                desk.collect()
                all_due()
                desk.go()
                return len(received.requests) == times

            fire("low")
            eventually(lambda: is_told(1), 60)
            fire("high", rule=a_rule("No consumer"))
            eventually(lambda: is_told(2), 60)
            desk.end()
            over.set()

    def test_however_many_hang_again_half_of_the_places_are_left(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(notify, "MOST_ON_THE_WAY", 4)
        over = threading.Event()
        with mute(over) as hangs, web() as received:
            for number in range(6):
                hook(hangs, f"a hanging one {number}")
            fire("low")
            Channel.objects.update(failing_since=datetime.now(UTC))
            all_due()
            desk.go()
            assert len(desk.pids) == 2
            hook(received, "one that answers", default=True)
            fire("high", rule=a_rule("No consumer"))
            all_due()
            desk.go()
            eventually(lambda: desk.collect() or received.requests, 60)
            desk.end()
            over.set()

    def test_a_message_interrupted_by_a_kill_goes_again_and_says_so(self, desk: Desk) -> None:
        over = threading.Event()
        with mute(over) as hangs:
            channel = hook(hangs)
            fire("low")
            all_due()
            desk.go()
            eventually(lambda: hangs.connections, 60)
            desk.end()
            over.set()
        left = Notice.objects.get()
        assert (left.attempts, left.began_at is not None, left.delivered_at) == (1, True, None)
        with web() as received, a_desk() as next_desk:
            places.keep(channel, f"http://127.0.0.1:{received.port}/")
            channel.save()
            Notice.objects.update(next_try=datetime.now(UTC))
            next_desk.go()
            eventually(next_desk.collect, 60)
        (_, headers, body) = received.requests[0]
        assert headers["Nightdesk-Delivery"] == left.parcel
        assert (headers["Nightdesk-Attempt"], headers["Nightdesk-Repeat"]) == ("2", "maybe")
        assert json.loads(body)["may_be_repeated"] is True

    def test_of_two_desks_one_takes_a_message(self, nearby: Any) -> None:
        with web() as received, a_desk() as one, a_desk() as other:
            hook(received)
            fire("low", "high")
            all_due()
            now = datetime.now(UTC)
            taken = desks.take(now, (), 8, 0, 8)
            assert len(taken) == 1
            other.go()
            assert other.pids == []
            # The one that was frozen in between can't write over what has happened since.
            Notice.objects.update(attempts=2, delivered_at=now)
            desks.write_down(taken[0], Outcome("failed", "late"), now)
            assert Notice.objects.filter(delivered_at=now, last_error="").count() == 2
            assert one.pids == []

    def test_what_came_of_it_is_kept_until_the_database_takes_it(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with web() as received:
            hook(received)
            fire("low")
            all_due()
            desk.go()
            with monkeypatch.context() as broken:

                def refuse(*_: Any) -> None:
                    raise DatabaseError("away")

                broken.setattr(desks, "write_down", refuse)
                with pytest.raises(DatabaseError):
                    eventually(desk.collect, 60)
            assert desk.collect()
        assert len(received.requests) == 1
        assert Notice.objects.get().delivered_at is not None

    @pytest.mark.parametrize("why", ["half a pair: \ud83d", "a NUL: \0"])
    def test_whatever_a_receiver_says_is_written_down(self, desk: Desk, nearby: Any, why: str) -> None:
        channel = a_channel("webhook", "https://hooks.example.com/x")
        fire("low")
        all_due()
        (taken,) = desks.take(datetime.now(UTC), (), 8, 0, 8)
        desk.loop._on_the_way = [notify.OnTheWay(taken, None, Outcome("failed", why))]
        assert desk.collect()
        channel.refresh_from_db()
        assert channel.last_error.startswith(why[:5])
        nearby.SECRET_KEY = "another secret that is long enough, too"
        desks.write_down(taken, Outcome("failed", why), datetime.now(UTC))

    def test_what_no_database_takes_holds_up_no_other_message(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(places, "storable", lambda text: text)
        channel = a_channel("webhook", "https://hooks.example.com/x")
        fire("low")
        all_due()
        (taken,) = desks.take(datetime.now(UTC), (), 8, 0, 8)
        desk.loop._on_the_way = [notify.OnTheWay(taken, None, Outcome("failed", "half a pair: \ud83d"))]
        assert desk.collect()
        channel.refresh_from_db()
        assert channel.last_error == "?"

    def test_a_channel_without_its_key_says_what_to_do(self, desk: Desk, nearby: Any) -> None:
        with web() as received:
            hook(received)
            fire("low")
            nearby.SECRET_KEY = "another secret that is long enough, too"
            desk.round()
        assert received.connections == 0
        assert "SECRET_KEY" in Channel.objects.get().last_error

    def test_a_webhook_is_never_sent_unsigned(self, desk: Desk, nearby: Any) -> None:
        with web() as received:
            hook(received)
            fire("low")
            nearby.WEBHOOK_SECRETS = {}
            desk.round()
        assert received.connections == 0
        assert "WEBHOOK_SECRETS" in Channel.objects.get().last_error

    def test_private_addresses_are_refused_unless_they_are_allowed(self, desk: Desk, nearby: Any) -> None:
        nearby.WEBHOOK_ALLOW = frozenset({"http"})
        with web() as received:
            hook(received, "hook")
            a_channel("apprise", f"json://127.0.0.1:{received.port}/{TOKEN}", "chat")
            fire("low")
            desk.round()
        assert received.connections == 0
        errors = set(Channel.objects.values_list("last_error", flat=True))
        assert all("not a public address" in error for error in errors), errors


class TestMail:
    def test_it_says_what_happened_in_plain_words(self, desk: Desk, nearby: Any) -> None:
        nearby.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        nearby.EMAIL_HOST, nearby.PUBLIC_URL = "127.0.0.1", "https://jobs.example.com"
        with mail() as received:
            nearby.EMAIL_PORT = received.port
            a_channel("email", "ana@example.com")
            (alert,) = fire("low")
            desk.round()
        message = message_from_string(received.mails[0], policy=policy.default)
        text = message.get_content()
        assert message["Subject"] == "[FIRING] Queue too deep: low"
        assert "1,200 messages wait in low" in text
        assert "depth: 1,200" in text
        assert "oldest: 71.2 s" in text
        assert "target: ?" in text
        assert f"https://jobs.example.com/alerts/{alert.pk}/" in text


def facts(**changed: Any) -> dict[str, Any]:
    told = {
        "alert": 1, "rule": 1, "name": "Failing", "kind": "failure share", "severity": "page", "key": "a",
        "about": "task", "task": "a", "queue": None, "summary": "", "evidence": {}, "since": None,
        "fired_at": None, "resolved_at": None, "acknowledged_by": "", "flaps": 0, "note": "", "runbook": "",
    }  # fmt: skip
    return told | changed


class TestTexts:
    def test_a_name_breaks_no_line_and_calls_nobody(self) -> None:
        evil = facts(key="x\r\nBcc: all@example.com\n<!channel> @everyone", name="R\nS")
        message = texts.Message("firing", [evil], "site")
        assert not set("\r\n") & set(texts.subject(message))
        assert "@everyone" not in texts.text(message)
        assert "<!channel" not in texts.text(message)

    def test_a_flood_stays_short(self) -> None:
        many = [facts(key="k" * 255, summary="s" * 500, evidence={"n" * 300: "v" * 5_000})] * 500
        message = texts.Message("firing", many, "site")
        assert len(texts.subject(message)) <= texts.LONGEST_SUBJECT
        assert len(texts.text(message)) <= texts.LONGEST_TEXT
        assert "And 480 more." in texts.text(texts.Message("firing", [facts()] * 500, "site"))

    @pytest.mark.parametrize(
        ("kind", "evidence", "lines"),
        [
            ("new error", {"value": 300.0, "first": 1.795e9, "returned": None},
             ["value: 5 min", "first: 2026-11-18 11:06:40 UTC"]),
            ("missed tick", {"due": 1.795e9}, ["due: 2026-11-18 11:06:40 UTC"]),
            ("failure share", {"value": 0.25, "failed": 1200}, ["value: 25 %", "failed: 1,200"]),
            ("worker dead", {"value": 3, "silent": 61.04}, ["value: 3", "silent: 61 s"]),
            ("oldest", {"value": 7200.0, "limit": None}, ["value: 2 h", "limit: ?"]),
        ],
    )  # fmt: skip
    def test_moments_and_durations_are_told_as_people_read_them(
        self, kind: str, evidence: dict[str, Any], lines: list[str]
    ) -> None:
        told = texts.text(texts.Message("firing", [facts(kind=kind, evidence=evidence)], "site"))
        assert [line.strip() for line in told.splitlines()][1 : len(lines) + 2] == [*lines, "about: a"]

    @pytest.mark.parametrize(
        ("event", "severity", "tone"),
        [
            ("firing", "page", "failure"), ("firing", "warn", "warning"), ("escalated", "page", "failure"),
            ("firing", "info", "info"), ("resolved", "page", "success"), ("acknowledged", "page", "info"),
        ],
    )  # fmt: skip
    def test_it_is_as_bad_as_it_sounds(self, event: str, severity: str, tone: str) -> None:
        assert texts.tone(texts.Message(event, [facts(severity=severity)], "site")) == tone

    def test_a_possible_second_copy_says_so(self) -> None:
        assert "second copy" in texts.text(texts.Message("firing", [facts()], "site", unsure=True))
        assert "second copy" not in texts.text(texts.Message("firing", [facts()], "site"))


class TestAddresses:
    @pytest.mark.parametrize(
        ("kind", "address", "shown"),
        [
            ("email", "ana@example.com, bo@b.example", "a…@example.com, b…@b.example"),
            ("webhook", f"https://hooks.example.com/{TOKEN}?key={TOKEN}", "https://hooks.example.com/…"),
            ("apprise", "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#ops", "slack://…"),
            ("apprise", f"tgram://123456789:{TOKEN}/ops", "tgram://…"),
        ],
    )
    def test_no_more_than_scheme_and_host_are_shown(self, kind: str, address: str, shown: str) -> None:
        channel = a_channel(kind, address)
        assert channel.shown == shown
        assert places.address_of(channel) == address
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM nightdesk_jobs_channel")
            assert TOKEN not in str(cursor.fetchall())

    @pytest.mark.parametrize(
        ("kind", "address"),
        [
            ("email", ""), ("email", "ana"), ("email", "ana@example.com, bo"), ("email", "a@b.example," * 30),
            ("webhook", "http://example.com/"), ("webhook", "https://u:hunter2@example.com/"),
            ("apprise", "nosuch://hunter2"), ("apprise", "dbus://"), ("apprise", "syslog://"),
            ("webhook", "x"), ("apprise", "x" * 2_001),
            ("apprise", "slack://[hunter2"), ("webhook", "https://[hunter2"),
        ],
    )  # fmt: skip
    def test_one_that_nothing_can_be_sent_to_is_refused(self, kind: str, address: str, settings: Any) -> None:
        settings.WEBHOOK_SECRETS = SECRETS
        with pytest.raises(ValidationError) as caught:
            places.check(kind, address, "default")
        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize(
        ("kind", "address"),
        [
            ("email", "ana@example.com"), ("webhook", "https://hooks.example.com/x"),
            ("apprise", "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#ops"),
            ("apprise", "pagerduty://abcdefghij@abcdefghij"), ("apprise", "json://example.com/x"),
        ],
    )  # fmt: skip
    def test_what_can_be_sent_to_is_taken(self, kind: str, address: str, settings: Any) -> None:
        settings.WEBHOOK_SECRETS = SECRETS
        places.check(kind, address, "default")

    def test_a_webhook_needs_a_secret_that_is_there(self, settings: Any) -> None:
        settings.WEBHOOK_SECRETS = SECRETS
        with pytest.raises(ValidationError, match="WEBHOOK_SECRETS"):
            places.check("webhook", "https://hooks.example.com/x", "other")

    def test_what_went_wrong_is_told_without_the_address(self) -> None:
        address = f"tgram://123456789:{TOKEN}/ops?key=s3cret-too"
        said = places.without_address(f"404 for /bot123456789:{TOKEN}/send\n at key s3cret-too", address)
        assert not any(part in said for part in (TOKEN, "s3cret-too", "123456789", "\n"))
        assert "404" in said


FORM = {
    "name": "ops",
    "kind": "webhook",
    "enabled": "on",
    "default": "on",
    "team": "",
    "signed_with": "default",
}
ADMIN = "/admin/nightdesk_jobs/channel/"


class TestAdmin:
    def test_an_address_goes_in_and_never_comes_out(self, visitor: Client, nearby: Any) -> None:
        address = f"https://hooks.example.com/{TOKEN}"
        assert visitor.post(f"{ADMIN}add/", FORM | {"address": address}).status_code == 302
        channel = Channel.objects.get()
        assert places.address_of(channel) == address
        pages = [ADMIN, f"{ADMIN}{channel.pk}/change/", f"{ADMIN}{channel.pk}/history/", "/alerts/channels/"]
        pages += ["/audit/", f"/audit/{Action.objects.get().pk}/"]
        for page in pages:
            shown = visitor.get(page).content.decode()
            assert TOKEN not in shown, page
        assert TOKEN not in str(list(Action.objects.values()))
        assert "hooks.example.com" in (Action.objects.get().after or "")

    def test_an_empty_address_keeps_the_one_that_is_there(self, visitor: Client, nearby: Any) -> None:
        channel = a_channel("webhook", "https://hooks.example.com/x", "ops")
        there = f"{ADMIN}{channel.pk}/change/"
        assert visitor.post(there, FORM | {"name": "night", "address": ""}).status_code == 302
        channel.refresh_from_db()
        assert (channel.name, places.address_of(channel)) == ("night", "https://hooks.example.com/x")
        assert visitor.post(there, FORM | {"kind": "email", "address": ""}).status_code == 200
        channel.refresh_from_db()
        assert channel.kind == "webhook"

    def test_a_wrong_address_is_not_shown_again(self, visitor: Client, nearby: Any) -> None:
        answer = visitor.post(f"{ADMIN}add/", FORM | {"address": f"ftp://hooks.example.com/{TOKEN}"})
        assert answer.status_code == 200
        assert "must begin with" in answer.content.decode()
        assert TOKEN not in answer.content.decode()
        assert not Channel.objects.exists()

    def test_those_who_may_not_edit_rules_are_not_let_in(self, client: Client) -> None:
        operator = account("operator")
        User.objects.filter(pk=operator.pk).update(is_staff=True)
        client.force_login(operator)
        assert client.get(ADMIN).status_code == 403
        assert client.get("/alerts/channels/").status_code == 403


class TestTests:
    def test_a_button_sends_a_message_and_says_what_came_of_it(self, visitor: Client, desk: Desk) -> None:
        with web() as received:
            channel = hook(received, enabled=False)
            answer = visitor.post(
                f"/alerts/channels/{channel.pk}/test/", {"once": "a-form-of-ops"}, follow=True
            )
            assert "on its way" in answer.content.decode()
            assert Action.objects.get().outcome == "asked"
            desk.round()
        assert events(received) == [("test", [])]
        action = Action.objects.get()
        assert (action.command, action.target, action.outcome) == ("channel.test", "webhook", "done")
        assert "Delivered" in visitor.get("/alerts/channels/").content.decode()

    def test_a_channel_that_is_off_is_told_nothing_else(self, visitor: Client, desk: Desk) -> None:
        with web() as received:
            channel = hook(received)
            fire("low", "high")
            Notice.objects.filter(alert__key="low").update(at=datetime.now(UTC) - timedelta(hours=13))
            Channel.objects.update(enabled=False)
            desk.round()
            perform(Actor(User.objects.get(), "page"), TestChannel(channel.pk))
            desk.round()
            assert events(received) == [("test", [])]
            Channel.objects.update(enabled=True)
            desk.round()
        assert events(received)[1:] == [("firing", ["high"])]
        assert Notice.objects.get(alert__key="low").given_up_at is not None

    def test_a_test_that_fails_is_not_repeated_and_says_why(self, visitor: Client, desk: Desk) -> None:
        with web(500) as received:
            channel = hook(received)
            perform(Actor(User.objects.get(), "page"), TestChannel(channel.pk))
            desk.round()
            desk.round()
        action = Action.objects.get()
        assert (action.outcome, action.detail) == ("failed", "the receiver says 500")
        assert len(received.requests) == 1

    def test_no_log_holds_an_address(self, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("DEBUG")
        with web(404, 404) as received:
            hook(received, "one")
            a_channel("apprise", f"json://127.0.0.1:{received.port}/{TOKEN}", "two")
            fire("low")
            desk.round()
        assert len(received.requests) == 2
        assert TOKEN not in caplog.text
        assert TOKEN not in str(list(Notice.objects.values())) + str(list(Channel.objects.values()))


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_monitor_killed_while_it_delivers_leaves_it_to_the_next_one(installation: Installation) -> None:
    allowed = {"WEBHOOK_ALLOW": "http,private", "WEBHOOK_SECRETS": "default:a secret for receivers"}
    over = threading.Event()
    with mute(over) as hangs, web() as received:
        # The processes of an installation have a key of their own.
        with override_settings(SECRET_KEY=installation.env["SECRET_KEY"]):
            hook(hangs, "hangs")
            first = installation.monitor(**allowed)
            fire("low")
            eventually(lambda: hangs.connections, 60)
            first.send(signal.SIGKILL)
            first.wait()
            hook(received, "answers")
            over.set()
            channel = Channel.objects.get(name="hangs")
            places.keep(channel, f"http://127.0.0.1:{received.port}/again")
            channel.save()
        installation.monitor(**allowed)
        headers = eventually(lambda: _headers_at(received, "/again"), 90)
    assert (headers["Nightdesk-Attempt"], headers["Nightdesk-Repeat"]) == ("2", "maybe")
    eventually(lambda: not Notice.objects.filter(alert__key="low", delivered_at=None).exists(), 30)


def _headers_at(received: Received, path: str) -> dict[str, str]:
    """Of the first request there; other rules than ours find something, too."""
    return next((headers for at, headers, _ in received.requests if at == path), {})
