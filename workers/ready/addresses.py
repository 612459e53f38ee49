"""Where a request of ours may go: a name is looked up once, judged, and connected to as it was judged."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import quote, urlsplit

PORTS = {"https": 443, "http": 80}
# All that is routed to somebody; what lies outside tunnels, translates or stays at home.
PUBLIC_IPV6 = IPv6Network("2000::/3")
# What may stand in a path as it is, "%" included: it is quoted already.
PLAIN = "/%:@!$&'()*+,;=~?"
LONGEST_URL = 2_000


class Refused(Exception):
    """Not a place that we connect to; the text says why."""


@dataclass(frozen=True)
class Place:
    """A URL, taken apart; `host` is as it stands in a certificate, `path` as it is sent."""

    scheme: str
    host: str
    port: int
    path: str


@dataclass(frozen=True)
class Address:
    """One address of a place, as a socket takes it."""

    family: int
    sockaddr: Any


def place_of(url: str, schemes: Sequence[str]) -> Place:
    """Read a URL. Raises Refused for one that is odd, names a user, or has another scheme."""
    if len(url) > LONGEST_URL or any(sign <= " " or sign == "\x7f" for sign in url):
        raise Refused("the URL is too long, or has spaces or control characters")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError as fault:
        raise Refused(f"this is no URL: {fault}") from None
    if parts.scheme not in schemes:
        raise Refused(f"the URL must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if not host or parts.username is not None or parts.password is not None:
        raise Refused("the URL must name a host, and neither user nor password")
    query = f"?{parts.query}" if parts.query else ""
    path = quote(f"{parts.path or '/'}{query}", safe=PLAIN)
    return Place(parts.scheme, host, port or PORTS[parts.scheme], path)


def addresses_of(place: Place, allow_private: bool) -> list[Address]:
    """Look its name up, once. Raises Refused if any of its addresses is none of the public internet's.

    Raises OSError if the name can't be looked up.
    """
    found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    for *_, sockaddr in found:
        if not allow_private and not is_public(str(sockaddr[0])):
            raise Refused(f"{place.host} is at {sockaddr[0]}, which is not a public address")
    return [Address(family, sockaddr) for family, _, _, _, sockaddr in found]


def is_public(text: str) -> bool:
    """Whether an address is one of the public internet: unicast, neither private nor tunnelled."""
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return _is_public_ipv4(address.ipv4_mapped)
        return address in PUBLIC_IPV6 and address.is_global and address.sixtofour is None
    return _is_public_ipv4(address)


def _is_public_ipv4(address: IPv4Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved


def connected(addresses: Sequence[Address], until: float) -> socket.socket:
    """A connection to the first that answers before `until`, by time.monotonic(). Raises OSError."""
    last: OSError = TimeoutError("no answer in time")
    for address in addresses:
        left = until - time.monotonic()
        if left <= 0:
            break
        connection = socket.socket(address.family, socket.SOCK_STREAM)
        connection.settimeout(left)
        try:
            connection.connect(address.sockaddr)
        except OSError as fault:
            connection.close()
            last = fault
        else:
            return connection
    raise last
