"""manage.py fabricate --jobs 1000000: a plausible record, for benchmarks and for trying things out."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from jobs.fabricate import erase, fabricate
from jobs.models import Bucket, Job


class Command(BaseCommand):
    help = "Fill an empty record with jobs that never were. The same seed gives the same jobs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--jobs", type=int, required=True, help="how many")
        parser.add_argument("--days", type=int, default=7, help="over how many days up to now (7)")
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--force", action="store_true", help="delete what is recorded first")

    def handle(self, *args: Any, jobs: int, days: int, seed: int, force: bool, **options: Any) -> None:
        if jobs < 1 or not 1 <= days <= 3_650:
            raise CommandError("--jobs should be at least 1, --days from 1 to 3650")
        if force:
            erase()
        elif Job.objects.exists() or Bucket.objects.exists():
            raise CommandError("the record is not empty; with --force it is deleted first")
        fabricate(jobs, days, seed, timezone.now(), self._say if options["verbosity"] > 1 else lambda _: None)
        self.stdout.write(f"fabricated {jobs:,} jobs of {days} days")

    def _say(self, words: str) -> None:
        self.stdout.write(words)
