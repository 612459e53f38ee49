from __future__ import annotations

from django.contrib import admin

from dashboard.jobs_panel import JobsPanel
from tests.guide.shop.models import Order


@admin.register(Order)
class OrderAdmin(JobsPanel, admin.ModelAdmin):
    list_display = ["email", "total", "paid_at"]
