"""Every address of the site, by noun."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, path, register_converter

from dashboard import health
from dashboard.addresses import TaskId
from dashboard.views import account, coverage, jobs, live, overview, schedules

register_converter(TaskId, "task_id")

urlpatterns: list[URLPattern | URLResolver] = [
    path("", overview.index, name="overview"),
    path("jobs/", jobs.index, name="jobs"),
    path("jobs/~<int:job_id>/", jobs.detail_by_number, name="job-by-number"),
    path("jobs/<task_id:task_id>/", jobs.detail, name="job"),
    path("schedules/", schedules.index, name="schedules"),
    path("coverage/", coverage.index, name="coverage"),
    path("gaps/", coverage.gaps, name="gaps"),
    path("quarantine/", coverage.quarantine, name="quarantine"),
    path("sign-in/", account.sign_in, name="sign-in"),
    path("sign-out/", account.sign_out, name="sign-out"),
    path("live/", live.index, name="live"),
    path("healthz", health.lives, name="healthz"),
    path("readyz", health.ready, name="readyz"),
    path("admin/login/", account.admin_sign_in),
    path("admin/", admin.site.urls),
]
