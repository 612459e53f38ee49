from __future__ import annotations

from celery.result import AsyncResult
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_POST

from tests.guide.shop.models import Order
from tests.guide.shop.tasks import charge, export_orders
from workers.enqueue import enqueue, using


@require_POST
def place_order(request: HttpRequest) -> JsonResponse:
    with transaction.atomic():
        order = Order.objects.create(email=request.POST["email"], total=request.POST["total"])
        using(key=f"charge-{order.pk}", about=order).enqueue(charge, order.pk)
    return JsonResponse({"order": order.pk}, status=201)


@require_POST
def start_export(request: HttpRequest) -> JsonResponse:
    request.session["export"] = enqueue(export_orders).id
    return JsonResponse({"state": "asked"}, status=202)


def exported(request: HttpRequest) -> JsonResponse:
    result = AsyncResult(request.session["export"])
    if not result.ready():
        return JsonResponse({"state": "running"}, status=202)
    if result.failed():
        return JsonResponse({"state": "failed"}, status=500)
    return JsonResponse(result.result)
