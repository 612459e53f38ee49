"""Somebody who is signed in and looks at the overview."""

from __future__ import annotations

import json
import re
import threading
import urllib.parse
import urllib.request
from contextlib import suppress
from http.cookiejar import CookieJar

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin

NAME = "viewer"
PASSWORD = "a viewer of benchmarks"


def signed_in(address: str) -> urllib.request.OpenerDirector:
    """Opens pages as a signed-in browser does."""
    return _sign_in(address, CookieJar())


def sign_in(address: str) -> str:
    """The cookies of a signed-in browser."""
    jar = CookieJar()
    _sign_in(address, jar)
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)


def _sign_in(address: str, jar: CookieJar) -> urllib.request.OpenerDirector:
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    page = opener.open(f"{address}/sign-in/").read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert token is not None, "the sign-in page has no form"
    form = {"username": NAME, "password": PASSWORD, "csrfmiddlewaretoken": token[1]}
    request = urllib.request.Request(
        f"{address}/sign-in/", urllib.parse.urlencode(form).encode(), {"Referer": f"{address}/sign-in/"}
    )
    opener.open(request).read()
    return opener


class Viewer:
    """A socket on the overview; `frames` is how many it has got."""

    def __init__(self, address: str) -> None:
        url = address.replace("http", "ws") + "/live/"
        headers = {"Cookie": sign_in(address)}
        self.frames = 0
        self._socket = connect(url, origin=Origin(address), additional_headers=headers)
        self._socket.send(json.dumps({"watch": ["overview"]}))
        self._thread = threading.Thread(target=self._count, daemon=True)
        self._thread.start()

    def leave(self) -> None:
        self._socket.close()
        self._thread.join(10)

    def _count(self) -> None:
        with suppress(ConnectionClosed):
            for _ in self._socket:
                self.frames += 1
