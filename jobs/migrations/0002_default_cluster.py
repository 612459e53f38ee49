from django.db import migrations


def make_default_cluster(apps, schema_editor):
    apps.get_model("nightdesk_jobs", "Cluster").objects.get_or_create(pk=1, defaults={"name": "default"})


class Migration(migrations.Migration):
    dependencies = [("nightdesk_jobs", "0001_initial")]
    operations = [migrations.RunPython(make_default_cluster, migrations.RunPython.noop)]
