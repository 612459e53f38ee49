"""What can be settled about the recorder."""

from __future__ import annotations

from dataclasses import dataclass

SENSITIVE_KEYS = (
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "apikey",
    "access_key",
    "private_key",
    "credential",
    "authorization",
    "cookie",
    "session_id",
    "sessionid",
    "card_number",
    "cvv",
    "iban",
    "ssn",
)


@dataclass(frozen=True)
class Options:
    """Settings of the recorder.

    `url` is the Redis that holds the stream. `stream_cap` is the hard limit of
    its length in entries, which bites only while no monitor reads. `linger` is
    the shortest time between two sends, in seconds: what comes after a silence
    goes at once. `buffer_bytes` bounds what a process holds while Redis is
    away; the oldest events go first, and are counted as lost. `spool` is a
    folder on a local disk for events that are not sent yet, so that none is
    lost where a process is killed; "" for none. `celery_events` keeps Celery's
    own events about jobs beside the stream, for Flower and `celery events`;
    they cost a worker more than the recorder does. `body_bytes` is the largest
    message body kept for a retry. A key is sensitive if it contains one of `sensitive_keys`, in any case.
    """

    url: str
    stream: str = "nightdesk:events"
    stream_cap: int = 500_000
    linger: float = 0.05
    buffer_bytes: int = 16_000_000
    body_bytes: int = 64_000
    release: str = ""
    spool: str = ""
    celery_events: bool = False
    sensitive_keys: tuple[str, ...] = SENSITIVE_KEYS

    def __post_init__(self) -> None:
        if self.linger < 0 or self.linger > 1:
            raise ValueError(f"linger is {self.linger} s; it should be between 0 and 1")
        if min(self.stream_cap, self.buffer_bytes, self.body_bytes) < 1000:
            raise ValueError("stream_cap, buffer_bytes and body_bytes should each be at least 1000")
