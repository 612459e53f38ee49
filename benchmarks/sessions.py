"""Sessions of a signed-in viewer, without the password's hash for each.

usage: python -m benchmarks.sessions NUMBER   (prints a key a line)
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

import django

django.setup()

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore

from benchmarks.viewer import NAME


def main(number: int) -> None:
    """As signing in makes them."""
    viewer = User.objects.get(username=NAME)
    for _ in range(number):
        session = SessionStore()
        session[SESSION_KEY] = str(viewer.pk)
        session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
        session[HASH_SESSION_KEY] = viewer.get_session_auth_hash()
        session.save()
        print(session.session_key)


if __name__ == "__main__":
    main(int(sys.argv[1]))
