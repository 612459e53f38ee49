"""Schedules in the admin are checked as their own pages check them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django_celery_beat import admin as beat
from django_celery_beat.models import PeriodicTask

from jobs.models import SchedulePolicy
from jobs.ticks.plans import problem
from workers.beat.editing import POLICY, Wish, policy_problem


class ScheduleForm(beat.PeriodicTaskForm):  # type: ignore[misc]
    """A schedule that Beat can run, or a word on why it can't."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Django's two inputs of one moment have no label of their own.
        date, time = self.fields["start_time"].widget.widgets
        date.attrs["aria-label"], time.attrs["aria-label"] = _("Start date"), _("Start time")

    def _post_clean(self) -> None:
        super()._post_clean()
        if not self.errors and (why := problem(self.instance)):
            self.add_error(None, why)


class PolicyForm(forms.ModelForm):  # type: ignore[type-arg]
    """What is wished of a schedule, held to the bounds of its own page."""

    class Meta:
        model = SchedulePolicy
        fields = POLICY

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if why := policy_problem(Wish(**{name: cleaned.get(name) for name in POLICY})):
            raise ValidationError(why)
        return cleaned


class RhythmForm(forms.ModelForm):  # type: ignore[type-arg]
    """A crontab, interval, clock time or event of the sun.

    One that several schedules share is changed for none of them by accident.
    """

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        users = self.instance.periodictask_set.count() if self.instance.pk else 0
        if users > 1 and self.changed_data:
            raise ValidationError(
                _("%(count)d schedules share this one: edit the one you mean on its page, or add another.")
                % {"count": users}
            )
        return cleaned

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if not self.errors and (why := problem(PeriodicTask(**{_kind(self.instance): self.instance}))):
            self.add_error(None, why)


def _kind(instance: Any) -> str:
    """The column of a schedule that refers to such a row."""
    return str(instance._meta.model_name).removesuffix("schedule")
