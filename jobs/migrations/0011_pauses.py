from django.db import migrations, models
from django.db.models.deletion import PROTECT


class Migration(migrations.Migration):
    dependencies = [("nightdesk_jobs", "0010_duplicate_attempts")]

    operations = [
        migrations.AddField("worker", "held", models.CharField(max_length=500, null=True)),
        migrations.AddField("pause", "held", models.TextField(default="{}")),
        migrations.AddField("pause", "reading", models.TextField(null=True)),
        migrations.AddField("pause", "looked_at", models.DateTimeField(null=True)),
        migrations.AddField("pause", "resumed_at", models.DateTimeField(null=True)),
        migrations.AddField(
            "pause",
            "resumed_by",
            models.ForeignKey(
                null=True, on_delete=PROTECT, related_name="resumed", to="nightdesk_jobs.action"
            ),
        ),
    ]
