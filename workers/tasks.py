"""What Celery looks for in each app: the tasks that come with this project."""

from workers.ready.cleanup import cleanup_expired
from workers.ready.emails import send_email
from workers.ready.report import generate_report
from workers.ready.webhooks import send_webhook

__all__ = ["cleanup_expired", "generate_report", "send_email", "send_webhook"]
