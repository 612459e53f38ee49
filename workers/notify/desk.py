"""The table of notices: what goes next is taken, and what came of it is written down.

A message is marked as begun before it is sent. Whoever is killed in between
leaves it so; it goes again after its time, marked as a possible second copy.
Of several monitors that take the same message one does, by compare-and-set.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast

from django.conf import settings
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from jobs.alerts.notices import TEST, waiting
from jobs.alerts.parcels import (
    GIVEN_UP_AFTER,
    MOST_IN_ONE,
    Parcel,
    Row,
    admitted,
    is_stale,
    next_of,
    pause_after,
)
from jobs.models import Action, Channel, ChannelKind, Notice
from jobs.models.people import Outcome as ActionOutcome
from jobs.perform import Settled, settle
from jobs.sealing import Broken
from jobs.store.turns import written
from workers.notify import places, texts
from workers.notify.courier import DEADLINE
from workers.notify.letter import Kind, Letter, Outcome
from workers.notify.sending import mail_settings

MOST_CHANNELS = 200
MOST_GIVEN_UP = 500
# A channel that is off is told nothing but that it is tried out.
TOLD = Q(channel__enabled=True) | Q(event=TEST)
LATE = timedelta(seconds=DEADLINE)


class Unsendable(Exception):
    """A message that only people can mend: the text says how."""


@dataclass(frozen=True)
class Taken:
    """A message that is ours to send: its channel, its notices, and which attempt it is."""

    channel: Channel
    notices: tuple[Notice, ...]
    name: str
    attempt: int
    unsure: bool

    @property
    def doubtful(self) -> bool:
        """Whether it may well fail, or hang."""
        return self.attempt > 1 or self.channel.failing_since is not None

    @property
    def rows(self) -> QuerySet[Notice]:
        """Its notices, as long as nobody else has taken it since."""
        return Notice.objects.filter(parcel=self.name, attempts=self.attempt, channel=self.channel)


def take(now: datetime, busy: Collection[int], free: int, doubtful: int, most: int) -> list[Taken]:
    """What goes now, to channels that are not `busy`; each of it is marked as begun."""
    _give_up_old(now)
    due = waiting().filter(TOLD, next_try__lte=now)
    channels = due.exclude(channel__in=busy).order_by().values_list("channel", "channel__failing_since")
    parcels = [
        replace(parcel, failing=failing_since is not None)
        for channel, failing_since in channels.distinct()[:MOST_CHANNELS]
        if (parcel := _next_of(channel, now))
    ]
    chosen = admitted(parcels, free, doubtful, most)
    return [taken for parcel in chosen if (taken := _begun(parcel, now))]


def _give_up_old(now: datetime) -> None:
    """What a channel that is off was not told in time is no news when it is on again."""
    late = waiting().filter(channel__enabled=False, began_at=None, at__lte=now - GIVEN_UP_AFTER)
    old = list(late.exclude(event=TEST).values_list("pk", flat=True)[:MOST_GIVEN_UP])
    if old:
        with written():
            rows = waiting().filter(pk__in=old, began_at=None)
            rows.update(given_up_at=now, last_error="its channel was off until this was no news any more")


def _next_of(channel: int, now: datetime) -> Parcel | None:
    """The next message of a channel; of one alert nothing goes before what came before it."""
    before = waiting().filter(channel=OuterRef("channel"), alert=OuterRef("alert"), pk__lt=OuterRef("pk"))
    rows = waiting().filter(TOLD, ~Exists(before), channel=channel).order_by("next_try", "pk")
    columns = ("id", "channel", "alert__rule", "event", "parcel", "attempts", "next_try", "began_at")
    return next_of([Row(*row) for row in rows.values_list(*columns)[: MOST_IN_ONE * 4]], now)


def _begun(parcel: Parcel, now: datetime) -> Taken | None:
    name = parcel.name or uuid.uuid4().hex
    attempt = parcel.attempts + 1
    changes: dict[str, Any] = {"unsure": True} if parcel.interrupted else {}
    with written():
        rows = waiting().filter(pk__in=parcel.notices, parcel=parcel.name, attempts=parcel.attempts)
        taken = rows.update(
            parcel=name,
            attempts=F("attempts") + 1,
            began_at=now,
            next_try=now + LATE + pause_after(attempt, final=False),
            **changes,
        )
    if not taken:
        return None
    notices = tuple(Notice.objects.filter(parcel=name).select_related("channel").order_by("pk"))
    unsure = any(notice.unsure for notice in notices)
    return Taken(notices[0].channel, notices, name, attempt, unsure)


def letter_of(taken: Taken) -> Letter:
    """The message as a process sends it. Raises Unsendable."""
    channel = taken.channel
    facts = [notice.facts for notice in taken.notices]
    site = f"{settings.SITE_NAME} ({settings.ENVIRONMENT})"
    message = texts.Message(taken.notices[0].event, facts, site, settings.PUBLIC_URL, taken.unsure)
    by_mail = channel.kind == ChannelKind.EMAIL
    signs = channel.kind == ChannelKind.WEBHOOK
    return Letter(
        cast(Kind, channel.kind),
        _address_of(channel),
        DEADLINE,
        allow_http="http" in settings.WEBHOOK_ALLOW,
        allow_private="private" in settings.WEBHOOK_ALLOW,
        delivery=taken.name,
        attempt=taken.attempt,
        unsure=taken.unsure,
        subject=texts.subject(message),
        text=texts.text(message),
        tone=texts.tone(message),
        body=texts.body(message, taken.name) if signs else "",
        secret=_secret_named(channel.signed_with) if signs else "",
        mail=mail_settings(settings) if by_mail else {},
    )


def _address_of(channel: Channel) -> str:
    try:
        return places.address_of(channel)
    except Broken:
        raise Unsendable("its address can't be read, as SECRET_KEY is another one: enter it again") from None


def _secret_named(name: str) -> str:
    secret = settings.WEBHOOK_SECRETS.get(name)
    if not secret:
        raise Unsendable(f"WEBHOOK_SECRETS has no secret {name!r} to sign with")
    return str(secret)


def write_down(taken: Taken, outcome: Outcome, now: datetime) -> None:
    """What came of an attempt: for its notices, its channel, and whoever tried the channel out."""
    delivered = outcome.ending == "delivered"
    why = "" if delivered else _why(taken, outcome)
    over = taken.notices[0].event == TEST or is_stale(taken.notices[0].at, now)
    changes: dict[str, Any] = {"began_at": None, "last_error": why}
    if delivered:
        changes["delivered_at"] = now
    elif over:
        changes["given_up_at"] = now
    else:
        changes["next_try"] = now + pause_after(taken.attempt, final=outcome.ending == "refused")
    if outcome.ending == "unknown":
        changes["unsure"] = True
    with written():
        if taken.rows.update(**changes):
            _note_health(taken.channel.pk, delivered, why, now)
            _settle_test(taken.notices[0].action, delivered, why)


def _why(taken: Taken, outcome: Outcome) -> str:
    try:
        return places.without_address(outcome.why, places.address_of(taken.channel))
    except Broken:
        return places.on_one_line(outcome.why)


def _note_health(channel: int, delivered: bool, why: str, now: datetime) -> None:
    rows = Channel.objects.filter(pk=channel)
    if delivered:
        rows.update(delivered_at=now, failing_since=None, last_error="")
    else:
        rows.filter(failing_since=None).update(failing_since=now)
        rows.update(last_error=why)


def _settle_test(action: Action | None, delivered: bool, why: str) -> None:
    if action is not None:
        outcome = ActionOutcome.DONE if delivered else ActionOutcome.FAILED
        settle(action, Settled(outcome, detail=why))
