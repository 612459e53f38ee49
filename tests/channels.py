"""Channels and alerts to tell of, and a desk that delivers as the monitor does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from jobs.alerts.notices import put
from jobs.models import Alert, Channel, Notice, Rule
from tests.harness import eventually
from workers.monitor.notify import Notifier
from workers.notify import places


def a_channel(kind: str, address: str, name: str = "", **fields: Any) -> Channel:
    """One that is told of everything, unless `default` says otherwise."""
    channel = Channel(name=name or kind, kind=kind, **{"default": True, **fields})
    places.keep(channel, address)
    channel.save()
    return channel


def a_rule(name: str = "Queue too deep", **fields: Any) -> Rule:
    return Rule.objects.get_or_create(name=name, defaults={"kind": "depth", "severity": "page", **fields})[0]


def an_alert(key: str = "low", rule: Rule | None = None, **fields: Any) -> Alert:
    """One that fires."""
    now = datetime.now(UTC)
    told = {
        "about": "queue", "queue": key, "severity": "page", "state": "firing", "since": now, "fired_at": now,
        "last_seen": now, "evidence": {"depth": 1200, "oldest": 71.25, "target": None},
        "summary": f"1,200 messages wait in {key}",
    }  # fmt: skip
    return Alert.objects.create(rule=rule or a_rule(), key=key, **{**told, **fields})


def fire(*keys: str, rule: Rule | None = None) -> list[Alert]:
    """Alerts that fire, and that channels are to be told of."""
    alerts = [an_alert(key, rule) for key in keys]
    for alert in alerts:
        put(alert, "firing")
    return alerts


def resolve(alert: Alert) -> None:
    """It is over, and channels are to be told."""
    alert.state, alert.resolved_at = "resolved", datetime.now(UTC)
    alert.save()
    put(alert, "resolved")


def all_due() -> None:
    """Let no notice wait for its time."""
    waiting = Notice.objects.filter(delivered_at=None, given_up_at=None, began_at=None)
    waiting.update(next_try=datetime.now(UTC) - timedelta(seconds=1))


class Desk:
    """Delivers in this process, with the loop and the processes of the monitor."""

    def __init__(self) -> None:
        self.loop = Notifier(lambda: True)

    def go(self) -> None:
        """Send what is due now."""
        self.loop.send(datetime.now(UTC))

    @property
    def pids(self) -> list[int]:
        return [one.courier.pid for one in self.loop._on_the_way if one.courier]

    def collect(self) -> bool:
        """Write down what has ended; whether nothing is on its way any more."""
        self.loop.collect(datetime.now(UTC))
        return not self.loop._on_the_way

    def round(self) -> None:
        """Send what waits, due or not, and wait for how it ends."""
        all_due()
        self.go()
        eventually(self.collect, 60)

    def end(self) -> None:
        """As a monitor does that is told to stop."""
        for one in self.loop._on_the_way:
            if one.courier:
                one.courier.end()


@contextmanager
def a_desk() -> Iterator[Desk]:
    desk = Desk()
    try:
        yield desk
    finally:
        desk.end()
