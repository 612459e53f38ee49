"""Acting on one schedule: buttons on its page, and two pages that show first what would come of it."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from dashboard.acting import act, asking
from dashboard.moment_fields import Moment
from dashboard.schedule_pages import coming, gone_by
from dashboard.views.schedules import facts_of, schedule_for
from dashboard.zones import titled
from jobs.models import CatchUp, Overlap, SchedulePolicy
from jobs.ticks.plans import UNREADABLE, Unreadable, expression, in_a_line, policy_of
from workers.beat.backfill import MOST, Uncountable, unsent_between
from workers.beat.editing import Wish, tried, wish_problem
from workers.commands.schedules import (
    Backfill,
    DisableSchedule,
    EditSchedule,
    EnableSchedule,
    PauseSchedule,
    ResumeSchedule,
    RunSchedule,
    SkipNext,
)

LASTS = (
    ("900", gettext_lazy("15 minutes")),
    ("3600", gettext_lazy("1 hour")),
    ("14400", gettext_lazy("4 hours")),
    ("86400", gettext_lazy("1 day")),
    ("604800", gettext_lazy("1 week")),
)


def _text(label: Any, most: int, hint: Any = "") -> forms.CharField:
    widget = forms.TextInput(attrs={"class": "input", "autocomplete": "off"})
    return forms.CharField(label=label, required=False, max_length=most, help_text=hint, widget=widget)


def _back(request: HttpRequest, schedule_id: int) -> str:
    schedule_for(request, schedule_id)
    return reverse("schedule", args=[schedule_id])


@require_POST
def run(request: HttpRequest, schedule_id: int) -> HttpResponse:
    said = _("Asked: its job is sent now.")
    return act(request, RunSchedule(schedule_id), _back(request, schedule_id), said)


@require_POST
def enable(request: HttpRequest, schedule_id: int) -> HttpResponse:
    return act(request, EnableSchedule(schedule_id), _back(request, schedule_id), _("It is switched on."))


@require_POST
def disable(request: HttpRequest, schedule_id: int) -> HttpResponse:
    return act(request, DisableSchedule(schedule_id), _back(request, schedule_id), _("It is switched off."))


@require_POST
def resume(request: HttpRequest, schedule_id: int) -> HttpResponse:
    return act(request, ResumeSchedule(schedule_id), _back(request, schedule_id), _("The pause is over."))


@require_POST
def skip(request: HttpRequest, schedule_id: int) -> HttpResponse:
    said = _("The next tick is left out.")
    return act(request, SkipNext(schedule_id), _back(request, schedule_id), said)


class PauseForm(forms.Form):
    """How long a pause is to last."""

    lasts = forms.ChoiceField(label=gettext_lazy("How long"), choices=LASTS)


@asking
def pause(request: HttpRequest, schedule_id: int) -> HttpResponse:
    row = schedule_for(request, schedule_id)
    form = PauseForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        context = {**facts_of(row, timezone.now()), "form": form}
        return render(request, "schedules/pause.html", context, status=400 if form.errors else 200)
    command = PauseSchedule(schedule_id, lasts=float(form.cleaned_data["lasts"]))
    return act(request, command, _back(request, schedule_id), _("It is paused."))


class BackfillForm(forms.Form):
    """From when to when."""

    begin = Moment(label=titled(gettext_lazy("Due from")))
    end = Moment(label=titled(gettext_lazy("Due until")))
    confirm = forms.IntegerField(required=False, min_value=0, max_value=MOST, widget=forms.HiddenInput())


@asking
def backfill(request: HttpRequest, schedule_id: int) -> HttpResponse:
    """First the count, by GET; then the deed, by a POST that confirms it."""
    row, now = schedule_for(request, schedule_id), timezone.now()
    asked = request.POST if request.method == "POST" else request.GET
    form = BackfillForm(asked if "begin" in asked else _last_day(now))
    valid = form.is_valid()
    if request.method == "POST" and valid:
        values = form.cleaned_data
        command = Backfill(schedule_id, values["begin"], values["end"], values["confirm"] or 0)
        return act(request, command, _back(request, schedule_id))
    context = {**facts_of(row, now), "form": form, "most": MOST}
    if valid and "begin" in asked:
        context |= _counted(row, form.cleaned_data, now)
    return render(request, "schedules/backfill.html", context, status=200 if valid else 400)


def _last_day(now: datetime) -> dict[str, str]:
    return {"begin": f"{now - timedelta(days=1):%Y-%m-%dT%H:%M}", "end": f"{now:%Y-%m-%dT%H:%M}"}


def _counted(row: PeriodicTask, values: dict[str, Any], now: datetime) -> dict[str, Any]:
    try:
        dues = unsent_between(row, values["begin"], values["end"], now)
    except (Unreadable, Uncountable) as fault:
        return {"fault": str(fault)}
    return {"dues": dues[:20], "total": len(dues), "too_many": len(dues) > MOST}


class EditForm(forms.Form):
    """When a schedule is due, and what is wished of it."""

    cron = _text(
        gettext_lazy("Crontab"), 400, gettext_lazy("Minute, hour, day of the month, month, day of the week.")
    )
    zone = _text(gettext_lazy("Time zone of the crontab"), 63)
    every = forms.IntegerField(
        label=gettext_lazy("Or every so many seconds"),
        required=False,
        widget=forms.NumberInput(attrs={"class": "input", "min": "1"}),
    )
    overlap = forms.ChoiceField(
        label=gettext_lazy("While a job of an earlier tick has not ended"), choices=Overlap.choices
    )
    catch_up = forms.ChoiceField(label=gettext_lazy("Ticks that Beat was away for"), choices=CatchUp.choices)
    jitter = forms.FloatField(
        label=gettext_lazy("Jitter, in seconds"),
        help_text=gettext_lazy("Each tick is sent up to so much later, so that not all come at once."),
        widget=forms.NumberInput(attrs={"class": "input", "min": "0", "step": "any"}),
    )
    owner = _text(gettext_lazy("Owner"), 150)
    note = _text(gettext_lazy("Note"), 500)

    def wish(self, row: PeriodicTask) -> Wish:
        """What differs from how it is."""
        before = initial_of(row)
        wanted = {
            name: value
            for name, value in self.cleaned_data.items()
            if value != before[name] and not (name in ("cron", "zone", "every") and value in ("", None))
        }
        if "every" in wanted:
            wanted = {name: value for name, value in wanted.items() if name not in ("cron", "zone")}
        elif "cron" in wanted and row.crontab is None and self.cleaned_data["zone"]:
            wanted["zone"] = self.cleaned_data["zone"]
        return Wish(**wanted)


def initial_of(row: PeriodicTask) -> dict[str, Any]:
    """The form as the schedule is now."""
    policy = policy_of(row) or SchedulePolicy(schedule=row)
    seconds = _seconds_of(row.interval) if row.interval else None
    return {
        "cron": expression(row.crontab) if row.crontab else "",
        "zone": str(row.crontab.timezone) if row.crontab else "UTC",
        "every": int(seconds) if seconds and seconds == int(seconds) else None,
        **{name: getattr(policy, name) for name in ("overlap", "catch_up", "jitter", "owner", "note")},
    }


def _seconds_of(interval: IntervalSchedule) -> float | None:
    """None for what is too long, or of no known unit."""
    try:
        return timedelta(**{interval.period: interval.every}).total_seconds()
    except (OverflowError, TypeError):
        return None


@asking
def edit(request: HttpRequest, schedule_id: int) -> HttpResponse:
    """The form; its preview, by GET or by the button of that name; and the deed."""
    row, now = schedule_for(request, schedule_id), timezone.now()
    asked = request.POST if request.method == "POST" else request.GET
    form = EditForm({**initial_of(row), **asked.dict()} if asked else initial_of(row))
    wish = form.wish(row) if form.is_valid() else Wish()
    if not form.errors and (why := wish_problem(wish, row)):
        form.add_error("every" if wish.every is not None else "cron" if wish.changes_rhythm else None, why)
    if request.method == "POST" and not form.errors and "preview" not in request.POST:
        command = EditSchedule(schedule_id, **{f.name: getattr(wish, f.name) for f in fields(wish)})
        return act(request, command, _back(request, schedule_id), _("It is changed; Beat takes it up now."))
    context = {**facts_of(row, now), "form": form, "zones": sorted(available_timezones())}
    if not form.errors:
        context |= _preview(wish, row, now)
    return render(request, "schedules/edit.html", context, status=400 if form.errors else 200)


def _preview(wish: Wish, row: PeriodicTask, now: datetime) -> dict[str, Any]:
    try:
        plan = tried(wish, row, now)
        return {"would_have": gone_by(plan, now), "will": coming(plan, now, 6)}
    except UNREADABLE as fault:
        return {"fault": in_a_line(fault)}
