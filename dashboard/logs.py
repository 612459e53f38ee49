"""Logs: structlog everywhere, a line for people or JSON for machines."""

from __future__ import annotations

import logging.config
from typing import Any

import structlog


class HasHost(logging.Filter):
    """All but the warning that a broker has no host: a socket has none, and each look at a worker warns."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("No hostname was supplied")


SHARED: list[Any] = [
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]
LOGGERS: dict[str, Any] = {
    # uvicorn brings handlers of its own, which would say everything in another form.
    "uvicorn": {"handlers": [], "propagate": True},
    "uvicorn.access": {"handlers": [], "propagate": True, "level": "WARNING"},
    "django.request": {"level": "ERROR"},
    # It says once a second that Redis is away; the hub says so once.
    "channels_redis.pubsub": {"level": "CRITICAL"},
    "kombu.connection": {"filters": ["hosts"]},
    "celery.worker.strategy": {"level": "WARNING"},
    "celery.app.trace": {"level": "WARNING"},
}


def configure(options: dict[str, Any]) -> None:
    """Set up logging from settings.LOGGING: {"level": str, "json": bool}."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"plain": _formatter(json=options["json"])},
            "filters": {"hosts": {"()": HasHost}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
            "root": {"handlers": ["stderr"], "level": options["level"]},
            "loggers": LOGGERS,
        }
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _formatter(*, json: bool) -> dict[str, Any]:
    """For logs of structlog and of others alike."""
    render = structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=False)
    return {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": SHARED,
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
    }
