from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("nightdesk_jobs", "0025_channel_team")]

    operations = [
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(fields=["cluster", "settled", "task", "queue"], name="nightdesk_dead_counts"),
        ),
    ]
