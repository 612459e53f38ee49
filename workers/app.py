"""The Celery app: queues, serializers and reliability settings all come from Django's settings."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from contextvars import ContextVar
from typing import Any

import django
from celery import Celery, signals
from django.apps import apps
from django.conf import settings
from django.db import connections
from kombu import Queue

import nightdesk
from jobs.routes import HIGHEST_PRIORITY
from workers import joblogs, loop, task
from workers.brokers import amqp_transport, transport
from workers.routing import Router
from workers.sweeping import Sweep

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

# How soon after a job its database connection is taken for whole by the next one, in seconds.
TRUSTED_FOR = 0.1
_last_job_at = ContextVar("last_job_at", default=-TRUSTED_FOR)

transport.register()
amqp_transport.register()

app = Celery("nightdesk", task_cls="workers.task:Task", amqp="workers.amqp:AMQP")
app.config_from_object("django.conf:settings", namespace="CELERY")
# RabbitMQ must be told that a queue has priorities; to our Redis lists that means nothing.
app.conf.task_queues = [Queue(name, max_priority=HIGHEST_PRIORITY) for name in settings.QUEUES]
router = Router(app, settings.QUEUES)
router.declare(settings.ROUTES)
app.conf.task_routes = [router]
app.autodiscover_tasks()


@signals.before_task_publish.connect(weak=False)
def complete_priority(properties: dict[str, Any], **_: Any) -> None:
    """Celery gives its default priority only to tasks that the publishing process knows; 0 to the others."""
    if properties.get("priority") is None:
        properties["priority"] = settings.CELERY_TASK_DEFAULT_PRIORITY


@signals.task_prerun.connect(weak=False)
def replace_stale_connections(task: Any, **_: Any) -> None:
    """Celery keeps its database connections between tasks (CELERY_DB_REUSE_MAX); drop the broken ones.

    Asking costs a round trip. A connection over which the job before has just
    written its result is not asked, unless it has had an error.
    """
    if task.request.is_eager:
        return
    now, before = time.monotonic(), _last_job_at.get()
    _last_job_at.set(now)
    for connection in connections.all(initialized_only=True):
        if connection.errors_occurred or now - before > TRUSTED_FOR:
            connection.close_if_unusable_or_obsolete()


@signals.worker_process_init.connect(weak=False)
def set_apart_what_stays(**_: Any) -> None:
    """Keep what was there at the fork out of the garbage collector's sight.

    It collects the oldest generation only when that has grown by a quarter;
    with all of Django in it, a pool process grows by tens of megabytes first.
    """
    gc.collect()
    gc.freeze()
    gc.collect()


@signals.task_postrun.connect(weak=False)
def finish_the_run(**told: Any) -> None:
    """Settle its claim, give its slot back, send the rest of its log."""
    task.finish(**told)


@signals.task_failure.connect(weak=False)
def alert(**told: Any) -> None:
    """Tell of the failure where its task asks for that."""
    task.tell_alert(**told)


@signals.worker_shutdown.connect(weak=False)
@signals.worker_process_shutdown.connect(weak=False)
def leave_the_loop(**_: Any) -> None:
    """`async def` tasks may have something to close."""
    loop.stop()


signals.worker_process_init.connect(joblogs.listen, weak=False)
signals.worker_ready.connect(joblogs.listen, weak=False)


@signals.worker_shutting_down.connect(weak=False)
def bound_the_warm_stop(how: str, **_: Any) -> None:
    """After STOP_GRACE seconds a warm stop turns cold: what still runs goes back into its queue.

    Celery's own soft shutdown always sleeps its whole time while a job runs,
    and collects no results meanwhile.
    """
    if how == "Warm":
        timer = threading.Timer(settings.STOP_GRACE, os.kill, (os.getpid(), signal.SIGQUIT))
        timer.daemon = True
        timer.start()


@signals.setup_logging.connect(weak=False)
def keep_the_logging_of_the_settings(**_: Any) -> None:
    """With a receiver here, Celery leaves handlers and levels as Django's settings have them."""


# Last, so that it records what the above has settled.
nightdesk.install(
    app,
    nightdesk.Options(
        url=settings.REDIS_URL,
        stream_cap=settings.STREAM_CAP,
        release=settings.RELEASE,
        spool=str(settings.DATA_DIR / "spool"),
        celery_events=settings.KEEP_CELERY_EVENTS,
    ),
)
# After the recorder, whose own request this one extends.
app.Task.Request = "workers.request:Request"
app.steps["consumer"].add(Sweep)

# `celery -A workers call …` needs the models; in Django's own programs they are there, or just being loaded.
if not (apps.ready or apps.loading):
    django.setup()
