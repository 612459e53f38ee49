"""Every address of the site, by noun."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, register_converter

from dashboard import health
from dashboard.addresses import QueueName, TaskId
from dashboard.api import v1
from dashboard.views import (
    account,
    audit,
    bulk,
    coverage,
    job_acts,
    jobs,
    live,
    metrics,
    overview,
    queue_acts,
    queues,
    rerun,
    results,
    run,
    schedules,
    triggers,
    worker_acts,
    workers,
)

register_converter(TaskId, "task_id")
register_converter(QueueName, "queue_name")

urlpatterns: list[URLPattern | URLResolver] = [
    path("", overview.index, name="overview"),
    path("jobs/", jobs.index, name="jobs"),
    path("jobs/~<int:job_id>/", jobs.detail_by_number, name="job-by-number"),
    path("jobs/~<int:job_id>/result/", results.download, name="job-result"),
    path("jobs/~<int:job_id>/retry/", job_acts.retry, name="job-retry"),
    path("jobs/~<int:job_id>/rerun/", rerun.rerun, name="job-rerun"),
    path("jobs/~<int:job_id>/revoke/", job_acts.revoke, name="job-revoke"),
    path("jobs/~<int:job_id>/terminate/", job_acts.terminate, name="job-terminate"),
    path("jobs/<task_id:task_id>/", jobs.detail, name="job"),
    path("run/", run.index, name="run"),
    path("bulk/", bulk.index, name="bulks"),
    path("bulk/<int:bulk_id>/", bulk.detail, name="bulk"),
    path("bulk/<int:bulk_id>/start/", bulk.start, name="bulk-start"),
    path("bulk/<int:bulk_id>/pause/", bulk.pause, name="bulk-pause"),
    path("bulk/<int:bulk_id>/resume/", bulk.resume, name="bulk-resume"),
    path("bulk/<int:bulk_id>/abort/", bulk.abort, name="bulk-abort"),
    path("queues/", queues.index, name="queues"),
    path("queues/<queue_name:name>/", queues.detail, name="queue"),
    path("queues/<queue_name:name>/pause/", queue_acts.pause, name="queue-pause"),
    path("queues/<queue_name:name>/resume/", queue_acts.resume, name="queue-resume"),
    path("queues/<queue_name:name>/purge/", queue_acts.purge, name="queue-purge"),
    path("workers/", workers.index, name="workers"),
    path("workers/~<int:worker_id>/", workers.detail_by_number, name="worker-by-number"),
    path("workers/<task_id:name>/", workers.detail, name="worker"),
    path("workers/~<int:worker_id>/shutdown/", worker_acts.shutdown, name="worker-shutdown"),
    path("workers/~<int:worker_id>/restart-pool/", worker_acts.restart_pool, name="worker-restart-pool"),
    path("workers/~<int:worker_id>/grow/", worker_acts.grow, name="worker-grow"),
    path("workers/~<int:worker_id>/shrink/", worker_acts.shrink, name="worker-shrink"),
    path("workers/~<int:worker_id>/autoscale/", worker_acts.autoscale, name="worker-autoscale"),
    path("workers/~<int:worker_id>/add-consumer/", worker_acts.add_consumer, name="worker-add-consumer"),
    path(
        "workers/~<int:worker_id>/cancel-consumer/",
        worker_acts.cancel_consumer,
        name="worker-cancel-consumer",
    ),
    path("workers/~<int:worker_id>/rate-limit/", worker_acts.rate_limit, name="task-rate-limit"),
    path("workers/~<int:worker_id>/time-limits/", worker_acts.time_limits, name="task-time-limits"),
    path("workers/~<int:worker_id>/events/", worker_acts.events, name="worker-events"),
    path("schedules/", schedules.index, name="schedules"),
    path("triggers/", triggers.index, name="triggers"),
    path("triggers/<int:trigger_id>/", triggers.detail, name="trigger"),
    path("coverage/", coverage.index, name="coverage"),
    path("gaps/", coverage.gaps, name="gaps"),
    path("quarantine/", coverage.quarantine, name="quarantine"),
    path("audit/", audit.index, name="audit"),
    path("audit/export/", audit.export, name="audit-export"),
    path("audit/<int:action_id>/", audit.detail, name="audit-action"),
    path("sign-in/", account.sign_in, name="sign-in"),
    path("sign-out/", account.sign_out, name="sign-out"),
    path("live/", live.index, name="live"),
    path("api/v1/", include(v1.addresses)),
    path("healthz", health.lives, name="healthz"),
    path("readyz", health.ready, name="readyz"),
    path("metrics", metrics.index, name="metrics"),
    path("admin/login/", account.admin_sign_in),
    path("admin/password_change/", account.change_password),
    path("admin/", admin.site.urls),
]
