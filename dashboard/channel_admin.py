"""Channels in the admin: an address goes in, and never comes out again."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters

from dashboard.admin_audit import AuditedByOne
from jobs import access
from jobs.models import Channel
from workers.notify import places

ADDRESS_HELP = gettext_lazy(
    "E-mail: one address or more, by comma. Webhook: https://… Others: an address of apprise, such as"
    " slack://…, msteams://…, pagerduty://…, tgram://…. It is encrypted and not shown again; leave it empty"
    " to keep the one that is there."
)


class NeverShown(forms.TextInput):
    """What was entered is not in the page that says what is wrong with it."""

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        return super().get_context(name, None, attrs)


class ChannelForm(forms.ModelForm):  # type: ignore[type-arg]
    """A channel, with a field for its address that is always empty at first."""

    address = forms.CharField(
        label=gettext_lazy("Address"),
        required=False,
        max_length=places.LONGEST_ADDRESS,
        help_text=ADDRESS_HELP,
        widget=NeverShown(attrs={"autocomplete": "off", "spellcheck": "false", "size": 80}),
    )

    class Meta:
        model = Channel
        fields = ("name", "kind", "enabled", "default", "team", "signed_with")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.sealed:
            self.fields["address"].widget.attrs["placeholder"] = self.instance.shown

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        address = cleaned.get("address", "").strip()
        try:
            self._check(cleaned, address)
        except ValidationError as fault:
            self.add_error("address", fault)
        return cleaned

    def _check(self, cleaned: dict[str, Any], address: str) -> None:
        kind, signed_with = cleaned.get("kind", ""), cleaned.get("signed_with", "")
        if address or not self.instance.sealed or {"kind", "signed_with"} & set(self.changed_data):
            if not address:
                raise ValidationError(_("Enter the address: it can't be read back to be checked again."))
            places.check(kind, address, signed_with)

    def save(self, commit: bool = True) -> Any:
        channel = super().save(commit=False)
        if address := self.cleaned_data["address"].strip():
            places.keep(channel, address)
            # From here on nobody sees more of it: the audit reads what was entered.
            self.cleaned_data["address"] = channel.shown
        if commit:
            channel.save()
        return channel


@admin.register(Channel)
@method_decorator(sensitive_post_parameters("address"), name="changeform_view")
class ChannelAdmin(AuditedByOne):
    """For those who edit rules and reach everything: a channel tells of all that a rule finds."""

    form = ChannelForm
    list_display = ("name", "kind", "shown", "enabled", "default", "team", "health")
    list_filter = ("enabled", "kind")
    fieldsets = (
        (None, {"fields": ("name", "kind", "address", "signed_with", "enabled", "health")}),
        (gettext_lazy("Which alerts"), {"fields": ("default", "team")}),
    )
    readonly_fields = ("health",)

    @admin.display(description=gettext_lazy("Health"))
    def health(self, channel: Channel) -> SafeString | str:
        if channel._state.adding:
            return "-"
        told = health_of(channel)
        return format_html('{} <a href="{}">{}</a>', told, reverse("alert-channels"), _("try it out"))

    def may_change(self, request: HttpRequest, obj: Any = None) -> bool:
        may = access.has(request.user, "edit_rule")
        return may and access.spans_of(request.user) is None


def health_of(channel: Channel) -> str:
    """One sentence about how the last deliveries went."""
    if channel.failing_since is not None:
        return _("Failing: %(why)s") % {"why": channel.last_error or "?"}
    return _("Works.") if channel.delivered_at else _("Nothing was sent yet.")
