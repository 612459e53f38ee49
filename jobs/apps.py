from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "jobs"
    label = "nightdesk_jobs"
    verbose_name = "The record"
