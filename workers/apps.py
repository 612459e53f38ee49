from django.apps import AppConfig


class WorkersConfig(AppConfig):
    name = "workers"
    label = "nightdesk_workers"
    verbose_name = "Workers"

    def ready(self) -> None:
        from workers import triggers

        triggers.connect()
