"""The recorder of Nightdesk: add it to a Celery app, and the record is complete.

    import nightdesk
    nightdesk.install(app, nightdesk.Options(url="redis://localhost:6379/0", spool="/var/spool/shop"))

It needs Celery, redis-py and the standard library only. It watches and never
hurts: it writes from a thread of its own, swallows and counts its own errors,
holds a bounded buffer while Redis is away, keeps what is not sent yet in a
file of the `spool` that outlives a kill, and `NIGHTDESK_RECORDER=off` in the
environment turns it off.
"""

from nightdesk.options import Options
from nightdesk.recorder import emit, install, uninstall

__all__ = ["Options", "emit", "install", "uninstall"]
