"""What a worker takes from a queue in Redis, looked at before Celery does.

Whoever can write to Redis can put anything into a queue. What is no message
at all would end Celery's worker, and the next one, too. It is told to the
record instead, and the worker goes on.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from typing import Any

import redis
from kombu.transport.redis import Channel
from kombu.utils.json import loads

from nightdesk.recorder import installed

logger = logging.getLogger(__name__)

# What kombu can't do without, when it makes a message and when it notes that nobody has acknowledged it.
WHENCE = ("exchange", "routing_key")
# In which form kombu can read a body.
ENCODINGS = (None, "", "base64", "utf-8", "UTF-8")
TAKE = "BRPOP"


class Client(redis.Redis):
    """A client whose BRPOP, kombu's way of waiting for messages, gives messages alone."""

    def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
        answer = super().parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]
        if command_name == TAKE and answer and not is_envelope(answer[1]):
            _set_aside(*answer)
            return None
        return answer


def is_envelope(raw: bytes) -> bool:
    """Whether kombu can make a message of it. What the message holds is another matter."""
    try:
        told = loads(raw)
        properties = told["properties"]
        if properties.get("body_encoding") == "base64":
            base64.b64decode(told.get("body") or "")
        return _is_whole(told, properties)
    except (ValueError, ArithmeticError, TypeError, KeyError, AttributeError, RecursionError):
        return False


def _is_whole(told: Mapping[str, Any], properties: Mapping[str, Any]) -> bool:
    return (
        isinstance(properties["delivery_tag"], str)
        and all(isinstance(properties["delivery_info"][name], str) for name in WHENCE)
        and properties.get("body_encoding") in ENCODINGS
        and isinstance(told.get("headers") or {}, dict)
        and isinstance(told.get("body") or "", str)
    )


def _set_aside(key: bytes, raw: bytes) -> None:
    """The list's name is the queue's, with its step of priority behind a separator."""
    queue = key.decode(errors="replace").partition(Channel.sep)[0]
    logger.error("what was taken from queue %s is no message; its %d bytes are set aside", queue, len(raw))
    recorder = installed()
    if recorder is not None:
        recorder.tell_no_envelope(raw, queue)
