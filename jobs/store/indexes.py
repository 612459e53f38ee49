"""Indexes of tables that somebody writes to all the time."""

from __future__ import annotations

from typing import Any

from django.db.migrations.operations import AddIndex


class AddIndexBesideWriters(AddIndex):
    """Adds an index and holds up nobody who writes: PostgreSQL builds it concurrently, in no transaction.

    What a migration that was broken off has left, an invalid index for one, is replaced.
    """

    atomic = False

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        on_postgresql = schema_editor.connection.vendor == "postgresql"
        beside = {"concurrently": True} if on_postgresql else {}
        name = schema_editor.quote_name(self.index.name)
        schema_editor.execute(f"DROP INDEX {'CONCURRENTLY ' if on_postgresql else ''}IF EXISTS {name}")
        schema_editor.add_index(model, self.index, **beside)
