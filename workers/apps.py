import celery.signals
from django.apps import AppConfig
from django.core.checks import register


class WorkersConfig(AppConfig):
    name = "workers"
    label = "nightdesk_workers"
    verbose_name = "Workers"

    def ready(self) -> None:
        from workers import checks, triggers

        register(checks.check_routes)
        celery.signals.worker_init.connect(checks.refuse_mute_routes, weak=False)
        triggers.connect()
