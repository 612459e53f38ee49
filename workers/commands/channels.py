"""What people do to channels: try one out. They are edited in the admin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from django.utils.translation import gettext as _

from jobs.alerts.notices import put_test
from jobs.models import Action, Channel
from jobs.perform import Refused, Settled, Subject, registered

if TYPE_CHECKING:
    from django.contrib.auth.models import User


@registered
@dataclass(frozen=True)
class TestChannel:
    """Send a message to a channel, also to one that is switched off, and say whether it was taken.

    It goes once: what came of it is the outcome.
    """

    __test__: ClassVar[bool] = False  # no test of pytest's

    name: ClassVar[str] = "channel.test"
    permission: ClassVar[str] = "edit_rule"
    channel: int

    def subject(self, user: User) -> Subject:
        return Subject("channel", self._found().name)

    def execute(self, action: Action) -> Settled:
        put_test(self._found(), action)
        return Settled()

    def _found(self) -> Channel:
        found = Channel.objects.filter(pk=self.channel).first()
        if found is None:
            raise Refused("missing", _("No such channel is known."))
        return found
