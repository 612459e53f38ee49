"""The page that says that something broke, made with as little as can break."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseServerError
from django.template import loader

from dashboard import themes


def broken(request: HttpRequest) -> HttpResponse:
    """500. What every other page shows around its content may be what broke, so it is left out."""
    text = loader.get_template("500.html").render({"theme": themes.theme_of(request)})
    return HttpResponseServerError(text)
