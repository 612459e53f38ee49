"""So many rows of all that is not the record of jobs: alerts, letters, schedules, deeds of people and so on.

usage: python -m benchmarks.surroundings ROWS
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

import django

django.setup()

from jobs.fabricate import RECORDED
from tests.plenty import fill

if __name__ == "__main__":
    fill(range(1, int(sys.argv[1]) + 1), without=RECORDED)
