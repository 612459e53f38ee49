"""Of messages that it can't decode Celery sends no signal: this step of a worker's consumer hears of them."""

from __future__ import annotations

from typing import Any

from celery import bootsteps

from nightdesk import recorder


class TellUndecodable(bootsteps.Step):
    """Tells the recorder before Celery drops such a message."""

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        celerys_own = consumer.on_decode_error

        def on_decode_error(message: Any, exc: Exception) -> None:
            running = recorder.installed()
            if running is not None:
                running.tell_dropped(message=message, exc=exc)
            celerys_own(message, exc)

        consumer.on_decode_error = on_decode_error
