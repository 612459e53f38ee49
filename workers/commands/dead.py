"""What people do to dead letters: send them again, or give them up."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from django.utils.translation import gettext as _

from jobs import dead_letters
from jobs.dead_letters import Query
from jobs.models import Action, Cluster, DeadLetter, Job, Payload, Visible
from jobs.models import dead as words
from jobs.models.people import Outcome
from jobs.outbox import Message, put_all
from jobs.perform import Refused, Settled, Subject, lacking, registered
from workers.app import app
from workers.commands.bulk import TYPED_ABOVE
from workers.eligibility import is_whole, why_not_retry
from workers.messages import retry_message
from workers.outbox import RAW
from workers.second_lives import hold, why_not_again

if TYPE_CHECKING:
    from django.contrib.auth.models import User

KIND = "dead-letter"
# As many as one transaction may take; what is left can be asked for again.
MOST = 1_000
ANY_BYTES = ("application/data", "binary")


@dataclass(frozen=True)
class OfLetters:
    """Some letters by their numbers; or all open ones of a reason, task or queue, up to the number `upto`.

    Of those that a filter finds, the oldest 1,000 are taken. `confirm` is how
    many they are: above 100 it is needed, and a reason.
    """

    letters: tuple[int, ...] = ()
    why: str | None = None
    task: str | None = None
    queue: str | None = None
    upto: int | None = None
    confirm: int | None = None
    cluster_id: int = Cluster.DEFAULT_ID

    @property
    def query(self) -> Query:
        """What its filter asks for."""
        return Query(self.why, self.task, self.queue, cluster_id=self.cluster_id)

    def subject(self, user: User) -> Subject:
        if bool(self.letters) == bool(self.query.conditions):
            raise Refused("set", _("Choose letters, or a filter: one of the two."))
        if len(self.letters) == 1:
            return _subject_of(find(self.letters[0], user))
        name = " ".join(self.query.conditions.values()) or f"{len(self.letters)} chosen"
        return Subject(KIND, name, self.task, self.queue, count=None, cluster_id=self.cluster_id, each=True)

    def found(self, action: Action) -> list[DeadLetter]:
        """The open ones, which nobody else settles in the transaction at hand. Raises Refused."""
        assert action.user is not None
        meant = dict(open_letters(self, action.user).values_list("pk", "job_id")[:MOST])
        hold(number for number in meant.values() if number is not None)
        found = list(open_letters(self, action.user).filter(pk__in=meant).select_for_update())
        if not found:
            raise self._nothing(action.user)
        if len(found) > 1 and (lack := lacking(action.user, "act_in_bulk")):
            raise lack
        self._refuse_unsure(len(found), action.reason)
        return found

    def _nothing(self, user: User) -> Refused:
        """Why there is nothing to settle."""
        seen = DeadLetter.objects.visible_to(user).filter(cluster=self.cluster_id)
        known = {"pk__in": self.letters[: MOST + 1]} if self.letters else self.query.conditions
        if seen.filter(**known).exists():
            return Refused("settled", _("It is settled already: nothing of it waits."))
        return Refused("missing", _("There is no such dead letter."))

    def _refuse_unsure(self, count: int, reason: str) -> None:
        if self.confirm is not None and self.confirm != count:
            raise Refused("confirm", _("There are %(n)d by now: look again.") % {"n": count})
        if count > TYPED_ABOVE and self.confirm is None:
            raise Refused("confirm", _("To confirm, give the number of letters: %(n)d.") % {"n": count})
        if count > TYPED_ABOVE and not reason:
            raise Refused("reason", _("Above %(n)d letters, a reason is needed.") % {"n": TYPED_ABOVE})


def open_letters(wanted: OfLetters, user: User) -> Visible:
    """Those that are meant, wait and may be seen by `user`, the oldest first."""
    if wanted.letters:
        seen = DeadLetter.objects.visible_to(user)
        rows = seen.filter(pk__in=wanted.letters[: MOST + 1], settled=words.Settled.OPEN)
    else:
        rows = dead_letters.matching(wanted.query, user)
    if wanted.upto is not None:
        rows = rows.filter(pk__lte=wanted.upto)
    return rows.order_by("pk")


def find(number: int, user: User) -> DeadLetter:
    """The letter, if `user` may see it. Raises Refused("missing")."""
    found: DeadLetter | None = DeadLetter.objects.visible_to(user).filter(pk=number).first()
    if found is None:
        raise Refused("missing", _("There is no such dead letter."))
    return found


def _subject_of(letter: DeadLetter) -> Subject:
    return Subject(
        KIND,
        str(letter.pk),
        task=letter.task,
        queue=letter.queue,
        before={"why": letter.why, "settled": letter.settled, "times": letter.times},
        cluster_id=letter.cluster_id or Cluster.DEFAULT_ID,
    )


@registered
@dataclass(frozen=True)
class Requeue(OfLetters):
    """Send what waits again to its queue: a job as a new one with the same body, a message byte for byte."""

    name: ClassVar[str] = "dead.requeue"
    permission: ClassVar[str] = "retry_job"

    def execute(self, action: Action) -> Settled:
        letters = self.found(action)
        hindrances = why_not_requeue(letters)
        if len(hindrances) == len(letters):
            raise next(iter(hindrances.values()))
        messages = _messages([letter for letter in letters if letter.pk not in hindrances])
        put_all(messages.values(), action)
        made = {pk: message.task_id for pk, message in messages.items()}
        dead_letters.settle(made, words.Settled.REQUEUED, action, made)
        return Settled(after=_come_to(letters, made, hindrances), count=len(made))


@registered
@dataclass(frozen=True)
class Discard(OfLetters):
    """Give up what waits: nothing is sent. It can be looked at until it is forgotten."""

    name: ClassVar[str] = "dead.discard"
    permission: ClassVar[str] = "revoke_job"

    def execute(self, action: Action) -> Settled:
        letters = self.found(action)
        count = dead_letters.settle([letter.pk for letter in letters], words.Settled.DISCARDED, action)
        return Settled(Outcome.DONE, after={"discarded": count}, count=count)


def _come_to(
    letters: Sequence[DeadLetter], made: Mapping[int, str], hindrances: Mapping[int, Refused]
) -> dict[str, object]:
    """One job's id, which the record will hear of; else counts."""
    if len(letters) == 1 and letters[0].is_a_job:
        return {"task_id": made[letters[0].pk]}
    reasons = Counter(str(refusal) for refusal in hindrances.values())
    left = [{"why": why, "count": count} for why, count in reasons.most_common()]
    return {"requeued": len(made), **({"left": left} if left else {})}


# Which letters can be sent again


def why_not_requeue(letters: Sequence[DeadLetter]) -> dict[int, Refused]:
    """Those of these letters that can't be sent again, by their numbers, and why."""
    jobs, payloads = _jobs_of(letters)
    again = why_not_again(list(jobs.values()))
    whys = {letter.pk: _why_not(letter, jobs, payloads, again) for letter in letters}
    return {pk: why for pk, why in whys.items() if why is not None}


def _jobs_of(letters: Sequence[DeadLetter]) -> tuple[dict[int, Job], dict[int, Payload]]:
    numbers = [letter.job_id for letter in letters if letter.job_id is not None]
    return Job.objects.in_bulk(numbers), Payload.objects.in_bulk(numbers)


def _why_not(
    letter: DeadLetter,
    jobs: Mapping[int, Job],
    payloads: Mapping[int, Payload],
    again: Mapping[int, Refused],
) -> Refused | None:
    if letter.job_id is None:
        return _why_not_message(letter)
    job = jobs.get(letter.job_id)
    if job is None:
        return Refused("missing", _("The record doesn't hold its job any more."))
    return why_not_retry(job, payloads.get(job.pk)) or again.get(job.pk)


def _why_not_message(letter: DeadLetter) -> Refused | None:
    if not is_whole(letter.queue):
        return Refused("unknown", _("Its queue is not known."))
    if letter.withheld is not None:
        return Refused("withheld", _why_withheld(letter.withheld))
    return None


def _why_withheld(withheld: str) -> str:
    return {
        "redacted": _("It may hold secrets, so it was not kept and can't be sent again."),
        "too large": _("It was too large to be kept whole."),
        "not an envelope": _("It was no message at all: whoever put it into the queue must mend that."),
    }.get(withheld, _("It could not be kept as it was."))


# How they are sent


def _messages(letters: Sequence[DeadLetter]) -> dict[int, Message]:
    """The message of each, by its number."""
    jobs, payloads = _jobs_of(letters)
    return {
        letter.pk: _raw_message(letter, str(uuid.uuid4()))
        if letter.job_id is None
        else retry_message(jobs[letter.job_id], payloads[letter.job_id], str(uuid.uuid4()))
        for letter in letters
    }


def _raw_message(letter: DeadLetter, new_id: str) -> Message:
    """The same bytes with the same headers; the id is the outbox's alone."""
    kind = [letter.content_type or ANY_BYTES[0], letter.content_encoding or ANY_BYTES[1]]
    return Message(
        task_id=new_id,
        task=letter.task or "",
        queue=letter.queue or "",
        body=letter.raw or "",
        headers=json.loads(letter.headers or "{}"),
        properties={RAW: kind},
        priority=app.conf.task_default_priority if letter.priority is None else letter.priority,
    )
