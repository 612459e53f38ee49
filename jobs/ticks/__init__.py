"""Schedules and their ticks: when they are due, what becomes of them, what is known of them.

`rhythms` and `deciding` are pure; `plans` reads rows of django-celery-beat;
`reading` answers for pages and alerts.
"""

from __future__ import annotations

from jobs.ticks.reading import BeatState, Missed, beat_state, missed_since

__all__ = ["BeatState", "Missed", "beat_state", "missed_since"]
