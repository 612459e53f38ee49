"""Which queue each task of the shop goes to, and how urgent it is."""

from __future__ import annotations

from collections.abc import Collection

from jobs.routes import Route

TASKS = "workers.demo.tasks."
# task: (queue, priority)
WISHES = {
    "process_order": ("high", 8),
    "charge_order": ("high", 8),
    "confirm_order": ("high", 6),
    "send_webhook": ("high", 5),
    "process_valuation": ("default", 5),
    "sync_product": ("default", 4),
    "resize_image": ("low", 5),
    "publish_gallery": ("low", 6),
    "generate_report": ("low", 3),
    "cleanup_expired": ("low", 1),
    "count_stock": ("low", 1),
    "crash": ("low", 1),
}


def routes(queues: Collection[str]) -> list[Route]:
    """The routes of the shop; a queue that is not declared gives way to the default one."""
    return [
        Route(f"{TASKS}{task}", queue=queue if queue in queues else None, priority=priority)
        for task, (queue, priority) in WISHES.items()
    ]
