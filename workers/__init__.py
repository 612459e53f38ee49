"""The processes: who works, and who watches them. `celery -A workers` finds the app here."""

from workers.app import app as celery

__all__ = ["celery"]
