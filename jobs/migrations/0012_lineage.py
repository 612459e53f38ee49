from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("nightdesk_jobs", "0011_pauses")]

    operations = [
        migrations.AddIndex(
            "job",
            models.Index(
                fields=["cluster", "retry_of"],
                condition=models.Q(retry_of__isnull=False),
                name="nightdesk_job_retry_of",
            ),
        ),
        migrations.AlterField("revocation", "told_at", models.DateTimeField(db_index=True, null=True)),
    ]
