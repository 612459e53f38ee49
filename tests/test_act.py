"""The one door: permission, audit row, effect, outcome; refusals included."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from typing import Any, ClassVar

import orjson
import pytest
from django.contrib.auth.models import Group, User
from django.db import transaction

from jobs.models import Action, Heartbeat, Reach
from jobs.models.people import Outcome
from jobs.perform import Actor, Refused, Registry, Settled, Subject, perform, settle
from jobs.roles import ensure_roles
from nightdesk.redaction import HIDDEN

pytestmark = pytest.mark.django_db


@dataclasses.dataclass(frozen=True)
class Ring:
    """A command for these tests: its effect is a row, which it may be told to refuse after writing it."""

    name: ClassVar[str] = "test.ring"
    permission: ClassVar[str] = "retry_job"
    bell: str
    refuse: bool = False
    password: str = ""
    notes: tuple[str, ...] = ()

    def subject(self, user: User) -> Subject:
        if self.bell == "none":
            raise Refused("missing", "There is no such bell.")
        return Subject("queue", self.bell, task="shop.ring", queue=self.bell, before={"rung": 0})

    def execute(self, action: Action) -> Settled:
        Heartbeat.objects.create(name=self.bell[:32], at=action.at, host="h", pid=1)
        if self.refuse:
            raise Refused("broken", "The bell is broken.")
        return Settled(after={"rung": 1})


def member(name: str, *roles: str) -> User:
    user = User.objects.create_user(name)
    user.groups.set(Group.objects.filter(name__in=roles))
    return user


def by(user: User) -> Actor:
    return Actor(user, "page", "192.0.2.7")


def rung() -> int:
    return Heartbeat.objects.count()


def test_an_action_is_written_down_with_its_effect() -> None:
    ana = member("ana", "operator")
    action = perform(by(ana), Ring("high"), reason="  it was quiet ")
    assert rung() == 1
    assert (action.who, action.via, action.address) == ("ana", "page", "192.0.2.7")
    assert (action.command, action.target_kind, action.target) == ("test.ring", "queue", "high")
    assert (action.reason, action.outcome, action.settled_at) == ("it was quiet", Outcome.ASKED, None)
    assert (action.before, action.after) == ('{"rung":0}', '{"rung":1}')


@pytest.mark.parametrize(
    ("role", "code"), [("viewer", "permission"), ("operator", None), ("admin", None), ("", "permission")]
)
def test_the_role_decides_and_a_refusal_is_written_down(role: str, code: str | None) -> None:
    action = perform(by(member("ana", role)), Ring("high"))
    assert action.refusal == code
    assert rung() == (0 if code else 1)
    assert Action.objects.get().outcome == (Outcome.REFUSED if code else Outcome.ASKED)


def test_a_closed_account_may_do_nothing() -> None:
    ana = member("ana", "admin")
    ana.is_active = False
    assert perform(by(ana), Ring("high")).refusal == "permission"


@pytest.mark.parametrize(
    ("queues", "tasks", "code"),
    [("high", "*", None), ("hi*,low", "shop.*", None), ("low", "*", "reach"), ("*", "mail.*", "reach")],
)
def test_a_reach_narrows_what_a_role_allows(queues: str, tasks: str, code: str | None) -> None:
    ana = member("ana", "operator")
    Reach.objects.create(user=ana, queues=queues, tasks=tasks)
    assert perform(by(ana), Ring("high")).refusal == code


def test_one_reach_of_several_is_enough_and_teams_have_them_too() -> None:
    ana = member("ana", "operator")
    Reach.objects.create(user=ana, queues="low")
    Reach.objects.create(group=Group.objects.get(name="operator"), queues="high")
    assert perform(by(ana), Ring("high")).refusal is None


def test_nothing_is_done_while_the_installation_is_read_only(settings: Any) -> None:
    settings.READ_ONLY = True
    assert perform(by(member("ana", "admin")), Ring("high")).refusal == "read_only"
    assert rung() == 0


def test_a_command_that_refuses_leaves_nothing_but_the_audit() -> None:
    action = perform(by(member("ana", "operator")), Ring("high", refuse=True))
    assert (action.refusal, action.detail, rung()) == ("broken", "The bell is broken.", 0)


def test_what_is_not_there_is_refused_and_written_down() -> None:
    action = perform(by(member("ana", "operator")), Ring("none"))
    assert (action.refusal, orjson.loads(action.arguments)["bell"]) == ("missing", "none")


def test_the_same_key_is_the_same_action() -> None:
    ana = member("ana", "operator")
    first = perform(by(ana), Ring("high"), once="k1")
    assert perform(by(ana), Ring("high"), once="k1").pk == first.pk
    assert rung() == 1
    with pytest.raises(Refused, match="another command"):
        perform(by(ana), Ring("low"), once="k1")


def test_the_key_of_one_person_is_not_that_of_another() -> None:
    perform(by(member("ana", "operator")), Ring("high"), once="k1")
    assert perform(by(member("bo", "operator")), Ring("low"), once="k1").refusal is None


def test_secrets_stay_out_of_the_audit() -> None:
    action = perform(by(member("ana", "operator")), Ring("high", password="hunter2"))
    assert orjson.loads(action.arguments)["password"] == HIDDEN


def test_the_audit_is_append_only() -> None:
    action = perform(by(member("ana", "operator")), Ring("high"))
    with pytest.raises(TypeError):
        action.delete()
    with pytest.raises(TypeError):
        Action.objects.all().delete()
    with pytest.raises(TypeError):
        Action.objects.update(who="bo")


def test_what_came_of_an_action_is_said_once() -> None:
    action = perform(by(member("ana", "operator")), Ring("high"))
    settle(action, Settled(Outcome.DONE, after={"rung": 2}))
    settle(action, Settled(Outcome.FAILED, detail="late news"))
    assert (action.outcome, action.detail, action.after) == (Outcome.DONE, "", '{"rung":2}')
    assert action.settled_at is not None


def test_the_audit_outlives_the_account() -> None:
    ana = member("ana", "operator")
    action = perform(by(ana), Ring("high"))
    ana.delete()
    action.refresh_from_db()
    assert (action.user, action.who) == (None, "ana")


def test_an_action_is_rolled_back_with_the_transaction_that_it_is_part_of() -> None:
    ana = member("ana", "operator")
    with suppress(RuntimeError), transaction.atomic():
        perform(by(ana), Ring("high"))
        assert rung() == 1
        raise RuntimeError
    assert (Action.objects.count(), rung()) == (0, 0)


def test_roles_that_were_edited_stay_as_they_are() -> None:
    viewer = Group.objects.get(name="viewer")
    viewer.permissions.clear()
    ensure_roles()
    assert viewer.permissions.count() == 0


def test_a_command_needs_a_name_of_its_own_and_a_known_permission() -> None:
    registry = Registry()
    registry(Ring)
    with pytest.raises(TypeError):
        registry(Ring)
    with pytest.raises(TypeError):
        Registry()(type("Fly", (Ring,), {"permission": "fly"}))


@pytest.mark.parametrize("other", [{"password": "b" * 9}, {"bell": "x" * 3_000 + "b"}, {"refuse": True}])
def test_a_key_knows_commands_apart_by_all_that_they_carry(other: dict[str, Any]) -> None:
    ana = member("ana", "operator")
    first = Ring("x" * 3_000 + "a", password="a" * 9)
    assert perform(by(ana), first, once="k1") == perform(by(ana), first, once="k1")
    with pytest.raises(Refused, match="another command"):
        perform(by(ana), dataclasses.replace(first, **other), once="k1")


def test_a_key_from_before_there_were_digests_goes_by_what_is_shown() -> None:
    ana = member("ana", "operator")
    perform(by(ana), Ring("high"))
    Action.objects.all()._update_open(once="k1")
    assert perform(by(ana), Ring("high"), once="k1").pk == Action.objects.get().pk
    with pytest.raises(Refused, match="another command"):
        perform(by(ana), Ring("low"), once="k1")


def test_half_a_surrogate_pair_stays_out_of_the_audit() -> None:
    action = perform(by(member("ana", "viewer")), Ring("high", notes=("\ud83e",)))
    assert orjson.loads(action.arguments)["notes"] == ["?"]
