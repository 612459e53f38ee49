from django.apps import AppConfig


class DashboardConfig(AppConfig):
    name = "dashboard"
    label = "nightdesk_dashboard"
    verbose_name = "Dashboard"
