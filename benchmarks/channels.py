"""Makes a rule and channels in a place: `python -m benchmarks.channels <who answers> <who hangs> …`."""

from __future__ import annotations

import os
import sys

os.environ["DJANGO_SETTINGS_MODULE"] = "dashboard.settings"

import django

django.setup()

from jobs.models import Channel, Rule
from workers.notify import places

RULE = "measured"


def main(answers: str, *hang: str) -> None:
    """One rule about the depth of any queue, told to all of them."""
    Rule.objects.update(enabled=False)
    rule = Rule.objects.create(name=RULE, kind="depth", params={"more_than": 0}, resolve_seconds=0)
    for number, address in enumerate([answers, *hang]):
        channel = Channel(name=f"channel {number}", kind="webhook")
        places.keep(channel, address)
        channel.save()
        rule.channels.add(channel)


if __name__ == "__main__":
    main(*sys.argv[1:])
