"""From a form on a page to the one door (`jobs.perform`), and back to a page that says what came of it."""

from __future__ import annotations

import re
from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

import workers.commands  # noqa: F401 it fills the registry
from dashboard.visitors import address_of, user_of
from jobs.models import Action
from jobs.models.people import OPEN_OUTCOMES, Outcome
from jobs.perform import Actor, Command, Refused, perform
from jobs.values import storable

View = Callable[..., HttpResponse]
NONCE = re.compile(r"[A-Za-z0-9_-]{8,64}")
# What a refusal means to HTTP; anything else is a conflict with how things stand.
STATUSES = {"permission": 403, "reach": 403, "read_only": 403, "missing": 404, "form": 400, "moment": 400}


def asking(view: View) -> View:
    """A page that asks before it acts: shown anew each time, and what it asks for is done by a POST."""
    return require_http_methods(["GET", "HEAD", "POST"])(never_cache(view))


def actor_of(request: HttpRequest) -> Actor:
    """Who acts through a page, and from where."""
    return Actor(user_of(request), "page", address_of(request))


def act(request: HttpRequest, command: Command, then: str, said: str = "") -> HttpResponse:
    """Do what a form asks for, once, and lead to the address `then`, whose page says what came of it.

    The form is a POST with the field of `{% once %}`, and may have one named
    `reason`. `said` is what to tell where all went well. A refusal has a page
    of its own, with its status; to htmx it is a way to `then`, too.
    """
    action = attempt(request, command, then)
    if isinstance(action, HttpResponse):
        return action
    messages.add_message(request, _level(action), said or action.detail or _told(action))
    return onward(request, then)


def attempt(request: HttpRequest, command: Command, back: str) -> Action | HttpResponse:
    """For a page that says itself what came of it: the action, or the answer that nothing was done."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    try:
        reason = storable(request.POST.get("reason", ""))
        action = perform(actor_of(request), command, reason, once=_nonce(request))
    except Refused as refusal:
        return refused(request, refusal.code, str(refusal), back)
    if action.outcome == Outcome.REFUSED:
        return refused(request, action.refusal or "", action.detail, back)
    return action


def refused(request: HttpRequest, code: str, why: str, then: str) -> HttpResponse:
    """Say that nothing was changed, and why."""
    status = STATUSES.get(code, 409)
    if not getattr(request, "htmx", False):
        return render(request, "refused.html", {"why": why, "then": then}, status=status)
    messages.error(request, _("Nothing was changed. %(why)s") % {"why": why})
    response = onward(request, then)
    response.status_code = status
    return response


def _nonce(request: HttpRequest) -> str:
    """The key under which this form is one action, however often it is sent."""
    nonce = request.POST.get("once", "")
    if not NONCE.fullmatch(nonce):
        raise Refused("form", _("The form is not whole: load the page again."))
    return nonce


def onward(request: HttpRequest, then: str) -> HttpResponse:
    """Lead on, in the way that whoever asked understands."""
    if getattr(request, "htmx", False):
        return HttpResponse(headers={"HX-Redirect": then})
    return redirect(then)


def _level(action: Action) -> int:
    return messages.ERROR if action.outcome == Outcome.FAILED else messages.SUCCESS


def _told(action: Action) -> str:
    """What is true of an action already, and no more."""
    names = {"command": action.command, "target": action.target}
    if action.outcome == Outcome.FAILED:
        return _("Failed: %(command)s on %(target)s.") % names
    if action.outcome in OPEN_OUTCOMES:
        return _("Asked, not yet confirmed: %(command)s on %(target)s.") % names
    return _("Done: %(command)s on %(target)s.") % names
