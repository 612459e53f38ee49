"""Static files under names that hold their content's hash."""

from __future__ import annotations

from whitenoise.storage import CompressedManifestStaticFilesStorage  # type: ignore[import-untyped]


class HashedFiles(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Also inside scripts: modules import each other by hashed names, so that no page mixes two releases."""

    support_js_module_import_aggregation = True
