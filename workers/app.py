"""The Celery app: queues, serializers and reliability settings all come from Django's settings."""

from __future__ import annotations

import os

from celery import Celery
from django.conf import settings
from kombu import Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

app = Celery("nightdesk", task_cls="workers.task:Task")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.task_queues = [Queue(name) for name in settings.QUEUES]
app.autodiscover_tasks()
