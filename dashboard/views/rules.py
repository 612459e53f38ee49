"""The rules of alerts: all of them, one to edit and to try against the past, a new one."""

from __future__ import annotations

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from dashboard import rule_rows
from dashboard.acting import act, asking
from dashboard.rule_forms import RuleForm
from dashboard.visitors import hindrance, scope_of_visitor, user_of
from jobs.models import Rule
from jobs.models.alerts import Kind
from jobs.scopes import named
from workers.commands.rules import DisableRule, EnableRule, SaveRule


class Kinds(forms.Form):
    """Of what kind a new rule is to be."""

    kind = forms.ChoiceField(choices=Kind.choices)


@require_safe
@never_cache
def index(request: HttpRequest) -> HttpResponse:
    """All rules: what each looks at, whom it tells, when it fired last."""
    scope_of_visitor(request)
    rows = rule_rows.read_rules(user_of(request), timezone.now())
    return render(request, "alerts/rules.html", {"rows": rows, "on": sum(row.rule.enabled for row in rows)})


@asking
def new(request: HttpRequest) -> HttpResponse:
    """First the kind, then what a rule of that kind asks for; a POST makes it."""
    scope_of_visitor(request)
    asked = Kinds(request.GET)
    if not asked.is_valid():
        kinds = rule_rows.kinds_told()
        return render(request, "alerts/kinds.html", {"kinds": kinds})
    return _form(request, asked.cleaned_data["kind"], None)


@asking
def detail(request: HttpRequest, rule_id: int) -> HttpResponse:
    """One rule: a POST saves it, or with `step` = "try" shows what it would have found."""
    scope_of_visitor(request)
    rule = get_object_or_404(Rule.objects.select_related("team"), pk=min(rule_id, 2**63 - 1))
    return _form(request, rule.kind, rule)


def _form(request: HttpRequest, kind: str, rule: Rule | None) -> HttpResponse:
    form = RuleForm(kind, rule, request.POST if request.method == "POST" else None)
    if form.is_valid() and request.POST.get("step") != "try":
        said = _("Saved: the monitor looks at it from its next round on, in a few seconds.")
        return act(request, form.command(), reverse("rules"), said)
    context = {
        "form": form,
        "rule": rule,
        "kind": Kind(kind).label,
        "says": rule_rows.SAYS.get(kind, ""),
        "trial": _trial(request, form),
    }
    return render(request, "alerts/rule.html", context, status=400 if form.errors else 200)


def _trial(request: HttpRequest, form: RuleForm) -> rule_rows.Trial | None:
    """What it would have done, as it stands in a form that was sent to be tried: it reads much, so only then.

    It is for those to whom all of it may be shown, and who may save the rule.
    """
    if not form.is_bound or form.errors or named(scope_of_visitor(request)).spans is not None:
        return None
    if hindrance(request, SaveRule, None, None):
        return None
    return rule_rows.tried(form.draft(), timezone.now())


@require_POST
def enable(request: HttpRequest, rule_id: int) -> HttpResponse:
    return act(request, EnableRule(rule_id), reverse("rules"), _("Switched on."))


@require_POST
def disable(request: HttpRequest, rule_id: int) -> HttpResponse:
    said = _("Switched off: nothing fires by it, and what does is resolved.")
    return act(request, DisableRule(rule_id), reverse("rules"), said)
