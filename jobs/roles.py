"""The three roles as Django groups, made once; afterwards they belong to whoever runs the place."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, Permission

from jobs.access import APP, ROLES


def ensure_roles(**_: Any) -> None:
    """Make the groups that are missing; those that are there stay as they have been edited."""
    for name, codenames in ROLES.items():
        group, made = Group.objects.get_or_create(name=name)
        if made:
            group.permissions.set(
                Permission.objects.filter(content_type__app_label=APP, codename__in=codenames)
            )
