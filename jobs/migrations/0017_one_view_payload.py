"""One permission alone is called view_payload: Django's own for the table of payloads had the same name."""

from typing import Any

from django.db import migrations


def drop_djangos_own(apps: Any, schema_editor: Any) -> None:
    """Whoever had both has ours still; Django's alone, given by hand, is not taken for ours."""
    permissions = apps.get_model("auth", "Permission").objects.using(schema_editor.connection.alias)
    permissions.filter(content_type__app_label="nightdesk_jobs", content_type__model="payload").delete()


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("nightdesk_jobs", "0016_action_digest"),
    ]

    operations = [
        migrations.AlterModelOptions(name="payload", options={"default_permissions": ()}),
        migrations.RunPython(drop_djangos_own, migrations.RunPython.noop),
    ]
