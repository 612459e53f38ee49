from django.apps import AppConfig
from django.conf import settings

from workers.app import router
from workers.demo.routes import routes


class DemoConfig(AppConfig):
    name = "workers.demo"
    label = "nightdesk_demo"
    verbose_name = "Demo shop"

    def ready(self) -> None:
        router.declare(routes(settings.QUEUES))
