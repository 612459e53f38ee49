"""What visitors choose for their browser, in the account menu: the theme, and the zone of times."""

from __future__ import annotations

from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from dashboard import themes, zones

LASTS = 365 * 86_400
LONGEST_ADDRESS = 2_000
LONGEST_NAME_SHOWN = 60


@require_POST
@never_cache
def theme(request: HttpRequest) -> HttpResponse:
    """Light or dark; nothing leaves it to the system."""
    chosen = request.POST.get("theme", "")
    if chosen not in ("", *themes.THEMES):
        return HttpResponseBadRequest(_("There is no such theme."), content_type="text/plain; charset=utf-8")
    back = _back(request.POST.get("next", ""), request)
    return _keep(themes.COOKIE, chosen, HttpResponseRedirect(back))


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def zone(request: HttpRequest) -> HttpResponse:
    """A POST chooses. Without a name, as the switch sends it where no script fills it in, it leads here."""
    if request.method != "POST":
        return _page(request, _back(request.GET.get("next", ""), request))
    name, back = request.POST.get("zone", ""), _back(request.POST.get("next", ""), request)
    if not name:
        return redirect(f"{reverse('zone')}?{urlencode({'next': back})}")
    if zones.zone_named(name) is None:
        fault = _("There is no time zone “%(name)s” here.") % {"name": name[:LONGEST_NAME_SHOWN]}
        return _page(request, back, fault)
    return _keep(zones.COOKIE, name, HttpResponseRedirect(back))


def _page(request: HttpRequest, back: str, fault: str = "") -> HttpResponse:
    context = {"regions": zones.regions(), "back": back, "fault": fault}
    return render(request, "account/zone.html", context, status=400 if fault else 200)


def _keep(cookie: str, chosen: str, response: HttpResponse) -> HttpResponse:
    response.set_cookie(
        cookie,
        chosen,
        max_age=LASTS,
        path=settings.SESSION_COOKIE_PATH,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
    return response


def _back(address: str, request: HttpRequest) -> str:
    """Where one was, if that is an address of ours."""
    ours = url_has_allowed_host_and_scheme(address, {request.get_host()}, require_https=request.is_secure())
    whole = address.startswith("/") and len(address) <= LONGEST_ADDRESS
    return address if ours and whole else reverse("overview")
