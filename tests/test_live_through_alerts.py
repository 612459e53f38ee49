"""The life of an alert: pending, firing, resolved; told of once, whatever happens in between."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import IntegrityError, transaction
from hypothesis import given
from hypothesis import strategies as st

from jobs.alerts.findings import Finding, of_queue
from jobs.alerts.keeping import MOST_OPEN, end_all, keep
from jobs.alerts.life import Life, Policy, Step, advance, end, gone_for, is_quiet
from jobs.models import Alert, AlertChange, Channel, Cluster, Notice, Rule
from jobs.models.alerts import Kind, Severity

NOW = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
CLUSTER = Cluster.DEFAULT_ID


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def lived(policy: Policy, *looks: bool | None, every: float = 5.0) -> list[Step]:
    """What a row of looks makes of nothing."""
    steps, life = list[Step](), None
    for number, holds in enumerate(looks):
        step = advance(life, holds, NOW + seconds(every * number), policy)
        steps.append(step)
        life = step.life if step.life and step.life.state != "resolved" else None
    return steps


def test_a_cause_that_has_lasted_fires_and_one_that_has_not_leaves_nothing() -> None:
    patient = Policy(for_seconds=10)
    assert [step.events for step in lived(patient, True, True, True)] == [(), (), ("firing",)]
    assert [step.life for step in lived(patient, True, False)][-1] is None


def test_it_is_resolved_when_its_cause_has_been_gone_for_a_time() -> None:
    steps = lived(Policy(resolve_seconds=10), True, False, False, False)
    assert [step.events for step in steps] == [("firing",), (), (), ("resolved",)]


def test_a_cause_that_comes_and_goes_is_one_alert_and_must_be_gone_for_longer_each_time() -> None:
    steps = lived(Policy(resolve_seconds=10), *[True, False] * 4)
    assert [event for step in steps for event in step.events] == ["firing"]
    life = steps[-1].life
    assert life is not None
    assert (life.flaps, gone_for(life.flaps, Policy(resolve_seconds=10))) == (3, seconds(80))


def test_while_nobody_can_tell_nothing_fires_and_nothing_is_resolved() -> None:
    assert lived(Policy(for_seconds=5), True, None, None)[-1].events == ()
    assert lived(Policy(resolve_seconds=5), True, False, None, None, None)[-1].life is not None


def test_what_nobody_has_acknowledged_is_escalated_once() -> None:
    steps = lived(Policy(escalate_after=10), *[True] * 6)
    assert [event for step in steps for event in step.events] == ["firing", "escalated"]


def test_what_somebody_has_acknowledged_is_not_escalated() -> None:
    policy = Policy(escalate_after=10)
    life = lived(policy, True)[-1].life
    assert life is not None
    owned = replace(life, acknowledged_at=NOW)
    assert advance(owned, True, NOW + seconds(600), policy).events == ()


@pytest.mark.parametrize("held_back", ["silenced", "quiet"])
def test_what_is_held_back_is_told_afterwards_if_its_cause_is_still_there(held_back: str) -> None:
    life = Life("firing", since=NOW, last_seen=NOW, fired_at=NOW)
    if held_back == "silenced":
        life = replace(life, silenced_until=NOW + seconds(60))
    early = advance(life, True, NOW + seconds(30), Policy(quiet=held_back == "quiet"))
    assert early.events == ()
    assert advance(early.life, True, NOW + seconds(60), Policy()).events == ("firing",)
    gone = advance(early.life, False, NOW + seconds(60), Policy())
    assert gone.life is not None
    assert (gone.life.state, gone.events) == ("resolved", ())


def test_quiet_hours_may_go_over_midnight_and_are_those_of_a_zone() -> None:
    paris = ZoneInfo("Europe/Paris")
    night = (time(22), time(7))
    assert is_quiet(*night, paris, datetime(2026, 11, 20, 21, 30, tzinfo=UTC))
    assert not is_quiet(*night, ZoneInfo("UTC"), datetime(2026, 11, 20, 21, 30, tzinfo=UTC))
    assert is_quiet(*night, paris, datetime(2026, 11, 21, 5, 59, tzinfo=UTC))
    assert not is_quiet(*night, paris, datetime(2026, 11, 21, 6, 0, tzinfo=UTC))
    assert not is_quiet(None, None, paris, NOW)


def test_a_disabled_rule_ends_what_fires_and_forgets_what_was_pending() -> None:
    firing = Life("firing", since=NOW, last_seen=NOW, fired_at=NOW, noticed_at=NOW)
    assert end(firing, NOW).events == ("resolved",)
    assert end(Life("pending", since=NOW, last_seen=NOW), NOW).life is None


looks = st.lists(
    st.tuples(
        st.sampled_from([True, True, False, None]),
        st.floats(0, 40),
        st.sampled_from(["", "", "", "acknowledge", "silence", "unsilence"]),
        st.booleans(),
    ),
    max_size=40,
)
policies = st.builds(
    Policy,
    for_seconds=st.sampled_from([0.0, 7.0, 30.0]),
    resolve_seconds=st.sampled_from([0.0, 7.0, 30.0]),
    escalate_after=st.sampled_from([None, 0.0, 20.0]),
)


@given(looks, policies)
def test_each_alert_gives_each_event_at_most_once_and_in_order(
    looks: list[tuple[bool | None, float, str, bool]], policy: Policy
) -> None:
    life: Life | None = None
    told, now = list[str](), NOW
    for holds, pause, deed, quiet in looks:
        now += seconds(pause)
        if life is not None:
            life = after(deed, life, now)
        step = advance(life, holds, now, replace(policy, quiet=quiet))
        told = [*told, *step.events] if life is not None else list(step.events)
        assert len(told) == len(set(told))
        assert told == [event for event in ("firing", "escalated", "resolved") if event in told]
        assert not told or told[0] == "firing"
        check(step, holds, now, quiet)
        life = None if step.life is None or step.life.state == "resolved" else step.life
    calm(life, now, policy)


def after(deed: str, life: Life, now: datetime) -> Life:
    """What people do in between."""
    if deed == "acknowledge" and life.acknowledged_at is None:
        return replace(life, acknowledged_at=now)
    if deed in ("silence", "unsilence"):
        return replace(life, silenced_until=now + seconds(15) if deed == "silence" else None)
    return life


def check(step: Step, holds: bool | None, now: datetime, quiet: bool) -> None:
    if "firing" in step.events or "escalated" in step.events:
        assert not quiet
        assert step.life is not None
        assert step.life.acknowledged_at is None
        assert step.life.silenced_until is None or step.life.silenced_until <= now
    if step.life is None:
        assert not holds
    elif step.life.state == "resolved":
        assert holds is False


def calm(life: Life | None, now: datetime, policy: Policy) -> None:
    """However it came, it is over when its cause has been gone for as long as can be asked for."""
    first = advance(life, False, now, policy).life
    if first is not None and first.state != "resolved":
        last = advance(first, False, now + seconds(policy.resolve_seconds * 8), policy).life
        assert last is None or last.state == "resolved"


# In the database


@pytest.fixture
def rule(db: None) -> Rule:
    rule = Rule.objects.create(
        name="too many wait", kind=Kind.DEPTH, severity=Severity.PAGE, for_seconds=0, resolve_seconds=0
    )
    rule.channels.add(Channel.objects.create(name="team chat"))
    return rule


def waiting(*queues: str, holds: bool = True) -> list[Finding]:
    return [of_queue(queue, holds, {"value": 12_345, "limit": 10, "oldest": 61.0}) for queue in queues]


def delivered() -> None:
    """What is over before anybody was told of it is told to nobody."""
    Notice.objects.update(attempts=1, delivered_at=NOW)


def notices() -> list[tuple[str, str]]:
    rows = Notice.objects.order_by("pk")
    return [(row.event, row.alert.key) for row in rows if row.alert is not None]


def test_an_alert_is_kept_from_its_cause_to_its_end(rule: Rule) -> None:
    assert keep(CLUSTER, rule, waiting("mail"), NOW).changed
    alert = Alert.objects.get()
    assert (alert.state, alert.about, alert.queue, alert.severity) == ("firing", "queue", "mail", "page")
    assert alert.summary == "mail: 12,345 jobs wait, the oldest for 61 s."
    delivered()
    assert not keep(CLUSTER, rule, waiting("mail"), NOW + seconds(5)).changed
    assert keep(CLUSTER, rule, [], NOW + seconds(10)).changed
    alert.refresh_from_db()
    assert (alert.state, alert.last_seen) == ("resolved", NOW + seconds(5))
    whats = list(AlertChange.objects.values_list("what", flat=True))
    assert whats == ["pending", "firing", "noticed", "resolved"]
    assert [event for event, _ in notices()] == ["firing", "resolved"]


def test_many_keys_of_a_rule_are_told_together_each_once(rule: Rule) -> None:
    for number in range(3):
        keep(CLUSTER, rule, waiting("mail", "high", "low"), NOW + seconds(5 * number))
    assert sorted(notices()) == [("firing", "high"), ("firing", "low"), ("firing", "mail")]


def test_a_cause_that_returns_after_its_end_is_another_alert(rule: Rule) -> None:
    for number, found in enumerate([waiting("mail"), [], waiting("mail")]):
        keep(CLUSTER, rule, found, NOW + seconds(5 * number))
    assert list(Alert.objects.order_by("pk").values_list("state", flat=True)) == ["resolved", "firing"]


def test_there_are_never_two_open_alerts_for_one_key(rule: Rule) -> None:
    keep(CLUSTER, rule, waiting("mail"), NOW)
    alert = Alert.objects.get()
    alert.pk, alert._state.adding = None, True
    with pytest.raises(IntegrityError), transaction.atomic():
        alert.save(force_insert=True)


def test_what_somebody_wrote_in_between_stays(rule: Rule) -> None:
    keep(CLUSTER, rule, waiting("mail"), NOW)
    Alert.objects.update(acknowledged_at=NOW, acknowledged_by="ana", note="partner is down")
    keep(CLUSTER, rule, waiting("mail", holds=False), NOW + seconds(5))
    alert = Alert.objects.get()
    assert (alert.state, alert.acknowledged_by, alert.note) == ("resolved", "ana", "partner is down")


def test_more_alerts_than_anybody_reads_are_not_made(rule: Rule) -> None:
    kept = keep(CLUSTER, rule, waiting(*(f"q{number}" for number in range(MOST_OPEN + 20))), NOW)
    assert kept.too_many
    assert Alert.objects.count() == MOST_OPEN


def test_a_suspicion_that_comes_to_nothing_leaves_no_trace(rule: Rule) -> None:
    rule.for_seconds = 60
    keep(CLUSTER, rule, waiting("mail"), NOW)
    assert Alert.objects.get().state == "pending"
    keep(CLUSTER, rule, [], NOW + seconds(5))
    assert (Alert.objects.count(), AlertChange.objects.count(), notices()) == (0, 0, [])


def test_a_rule_that_is_disabled_ends_its_alerts(rule: Rule) -> None:
    keep(CLUSTER, rule, waiting("mail"), NOW)
    assert end_all(CLUSTER, rule, NOW + seconds(5)).changed
    assert Alert.objects.get().state == "resolved"


def test_the_history_of_an_alert_can_only_grow(rule: Rule) -> None:
    keep(CLUSTER, rule, waiting("mail"), NOW)
    change = AlertChange.objects.earliest("pk")
    with pytest.raises(TypeError):
        change.save()
    with pytest.raises(TypeError):
        change.delete()
