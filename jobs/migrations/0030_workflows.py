from django.db import migrations, models

from jobs.store.indexes import AddIndexBesideWriters

FOLLOWS, GROUPED = models.Q(parent_id__isnull=False), models.Q(group_id__isnull=False)


class Migration(migrations.Migration):
    """Only jobs of workflows are in these: for all others they cost nothing. Jobs are written meanwhile."""

    atomic = False

    dependencies = [("nightdesk_jobs", "0029_worker_reports")]

    operations = [
        AddIndexBesideWriters(
            "job",
            models.Index(fields=["cluster", "id"], condition=FOLLOWS | GROUPED, name="nightdesk_job_part"),
        ),
        AddIndexBesideWriters(
            "job",
            models.Index(
                fields=["cluster", "root_id", "id"], condition=FOLLOWS, name="nightdesk_job_root"
            ),
        ),
        AddIndexBesideWriters(
            "job",
            models.Index(
                fields=["cluster", "group_id", "id"], condition=GROUPED, name="nightdesk_job_group"
            ),
        ),
    ]
