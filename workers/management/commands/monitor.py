"""`python manage.py monitor`: brings the stream into the record, samples, and tells the pages."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from workers.monitor.main import run


class Command(BaseCommand):
    # They would load the whole site, its pages and its API, which the monitor has no use for.
    requires_system_checks = ()
    help = "Record what the workers do. One monitor works, others stand by."

    def handle(self, *args: Any, **options: Any) -> None:
        run()
