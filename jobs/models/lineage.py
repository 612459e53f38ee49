"""How jobs are found by those they come from: indexes that only hold jobs which come from another one."""

from __future__ import annotations

from django.db import models

FOLLOWS = models.Q(parent_id__isnull=False)
GROUPED = models.Q(group_id__isnull=False)
AGAIN = models.Q(retry_of__isnull=False)

LINEAGE = [
    models.Index(fields=["cluster", "retry_of"], condition=AGAIN, name="nightdesk_job_retry_of"),
    models.Index(fields=["cluster", "id"], condition=FOLLOWS | GROUPED, name="nightdesk_job_part"),
    models.Index(fields=["cluster", "root_id", "id"], condition=FOLLOWS, name="nightdesk_job_root"),
    models.Index(fields=["cluster", "group_id", "id"], condition=GROUPED, name="nightdesk_job_group"),
]
