from django.apps import AppConfig
from django.db.models.signals import post_migrate


class JobsConfig(AppConfig):
    name = "jobs"
    label = "nightdesk_jobs"
    verbose_name = "The record"

    def ready(self) -> None:
        from jobs.alerts.built_in import ensure_rules
        from jobs.roles import ensure_roles

        # Permissions are there only after all migrations.
        post_migrate.connect(ensure_roles, sender=self, dispatch_uid="nightdesk.roles")
        post_migrate.connect(ensure_rules, sender=self, dispatch_uid="nightdesk.rules")
