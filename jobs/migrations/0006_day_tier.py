from itertools import groupby

from django.db import migrations, models

from jobs.rollups import COUNTS, Sketches

HOUR, DAY = 3_600, 86_400


def add_up_days(apps, schema_editor):
    """Days from the hours that are there, one at a time."""
    buckets = apps.get_model("nightdesk_jobs", "Bucket").objects
    hours = buckets.filter(tier=HOUR).order_by("cluster_id", "task", "queue", "start").iterator()
    for key, parts in groupby(hours, lambda hour: (hour.cluster_id, hour.task, hour.queue, hour.start // 24)):
        counts, sketches = dict.fromkeys(COUNTS, 0), Sketches()
        for part in parts:
            sketches.merge(Sketches.loads(part.sketches))
            for name in COUNTS:
                counts[name] += getattr(part, name)
        cluster_id, task, queue, start = key
        buckets.get_or_create(
            cluster_id=cluster_id, tier=DAY, start=start, task=task, queue=queue,
            defaults={**counts, "sketches": sketches.dumps()},
        )  # fmt: skip


class Migration(migrations.Migration):
    dependencies = [("nightdesk_jobs", "0005_postgresql_storage")]
    operations = [
        migrations.AlterField("bucket", "tier", models.PositiveIntegerField()),
        migrations.RunPython(add_up_days, migrations.RunPython.noop),
    ]
