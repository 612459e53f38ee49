"""`python manage.py partition_payloads`: cuts the largest table into partitions, while everything runs."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs.store import partitions

FEWEST_ROWS = 100_000


class Command(BaseCommand):
    help = (
        "On PostgreSQL: keep what jobs carry (arguments, bodies, results) in partitions by ranges of job ids."
        " Run it once, while everything works; the monitor makes the next ones and drops empty ones."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--rows-per-partition", type=int, default=5_000_000, metavar="N")

    def handle(self, *args: Any, **options: Any) -> None:
        width: int = options["rows_per_partition"]
        if width < FEWEST_ROWS:
            raise CommandError(f"--rows-per-partition is {width}; it should be at least {FEWEST_ROWS}")
        try:
            present = partitions.partition(width)
        except partitions.PartitioningRefused as fault:
            raise CommandError(str(fault)) from None
        for each in present:
            self.stdout.write(f"{each.name}: jobs {each.lower or 0} to {each.upper - 1}")
