"""Secrets in the database: encrypted with keys that are made from SECRET_KEY, and checked when they are read.

Python has no cipher of its own. HMAC-SHA256 is a pseudo-random function, and
what it gives for a nonce and a counter is a key stream (counter mode); what was
encrypted is authenticated with another key, together with its purpose. Whoever
has the database alone reads nothing, changes nothing and swaps nothing unseen
between purposes. The length of a text shows.
"""

from __future__ import annotations

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256

from django.conf import settings

VERSION = b"\x01"
NONCE_LENGTH = TAG_LENGTH = BLOCK_LENGTH = 32


class Broken(Exception):
    """What was sealed can't be read: SECRET_KEY is another one, or somebody has changed it."""


def seal(text: str, purpose: str) -> str:
    """`text`, readable only by `unseal` with the same purpose and SECRET_KEY."""
    nonce = secrets.token_bytes(NONCE_LENGTH)
    head = VERSION + nonce + _mixed(text.encode(), _key(settings.SECRET_KEY, "encrypt"), nonce)
    return urlsafe_b64encode(head + _tag(head, purpose, settings.SECRET_KEY)).decode()


def unseal(sealed: str, purpose: str) -> str:
    """The text again; also if it was sealed with one of SECRET_KEY_FALLBACKS. Raises Broken."""
    try:
        raw = urlsafe_b64decode(sealed.encode())
    except ValueError:
        raise Broken from None
    head, tag = raw[:-TAG_LENGTH], raw[-TAG_LENGTH:]
    if head[:1] == VERSION and len(head) > NONCE_LENGTH:
        for secret in (settings.SECRET_KEY, *map(str, settings.SECRET_KEY_FALLBACKS)):
            if hmac.compare_digest(tag, _tag(head, purpose, secret)):
                nonce, hidden = head[1 : NONCE_LENGTH + 1], head[NONCE_LENGTH + 1 :]
                return _mixed(hidden, _key(secret, "encrypt"), nonce).decode()
    raise Broken


def _mixed(data: bytes, key: bytes, nonce: bytes) -> bytes:
    """`data` combined with the key stream of this nonce: encrypts, and decrypts."""
    blocks = range(-(-len(data) // BLOCK_LENGTH))
    stream = b"".join(hmac.digest(key, nonce + block.to_bytes(8, "big"), sha256) for block in blocks)
    return bytes(one ^ other for one, other in zip(data, stream, strict=False))


def _tag(head: bytes, purpose: str, secret: str) -> bytes:
    return hmac.digest(_key(secret, "authenticate"), _length_of(purpose) + purpose.encode() + head, sha256)


def _length_of(purpose: str) -> bytes:
    """So that where the purpose ends is no matter of opinion."""
    return len(purpose.encode()).to_bytes(8, "big")


def _key(secret: str, use: str) -> bytes:
    """A key of its own for each use: none tells anything of another, or of the secret."""
    return hmac.digest(secret.encode(), f"nightdesk sealing {use}".encode(), sha256)
