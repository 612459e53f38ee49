from django.apps import AppConfig


class WorkersConfig(AppConfig):
    name = "workers"
    label = "nightdesk_workers"
    verbose_name = "Workers"
