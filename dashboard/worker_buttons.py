"""Which orders a visitor can give to a worker, and why not."""

from __future__ import annotations

from django.http import HttpRequest
from django.utils.translation import gettext as _

from dashboard.visitors import hindrance, user_of
from jobs.models import Worker
from jobs.perform import lacking
from workers.commands import workers as commands
from workers.commands.workers import ToAWorker

ORDERS: dict[str, type[ToAWorker]] = {
    "shutdown": commands.Shutdown,
    "restart_pool": commands.RestartPool,
    "grow": commands.Grow,
    "shrink": commands.Shrink,
    "autoscale": commands.Autoscale,
    "consumers": commands.AddConsumer,
    "rate_limit": commands.RateLimit,
    "time_limits": commands.TimeLimits,
    "events": commands.Events,
}
# Whether a reach covers these is known only when the form names a queue or a task.
OF_SOMETHING = frozenset({"consumers", "rate_limit", "time_limits"})


def buttons(request: HttpRequest, worker: Worker, state: str) -> dict[str, str]:
    """For each order why it can't be given; "" where it can."""
    return {name: _why_not(request, name, worker, state) for name in ORDERS}


def _why_not(request: HttpRequest, name: str, worker: Worker, state: str) -> str:
    order = ORDERS[name]
    if name in OF_SOMETHING:
        refused = str(lacking(user_of(request), order.permission) or "")
    else:
        refused = hindrance(request, order, None, None)
    if refused:
        return refused
    if state in ("dead", "retired"):
        return _("It is not online.")
    return commands.hindrance(order.method, worker) or ""
