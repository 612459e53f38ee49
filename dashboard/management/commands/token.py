"""`manage.py token create|list|revoke`: what programs come in with."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dashboard.shell import account_of, add_who, failed, now, sentence_of
from dashboard.terminal import as_json, printable, table
from jobs import access
from jobs.models import Action, Token
from jobs.perform import Actor, perform
from jobs.perform import Command as Act
from jobs.tokens import (
    LONGEST_LIFE,
    SHOWN,
    MakeToken,
    RevokeToken,
    allowed_to,
    digest_of,
    new_secret,
    still_good,
)

COLUMNS = ("prefix", "user", "name", "permissions", "created_at", "expires_at", "last_used_at", "state")


class Command(BaseCommand):
    help = "Make tokens for the API, list them, revoke them."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
        _add_create(verbs.add_parser("create", help="make one; its secret is shown once"))
        listing = verbs.add_parser("list", help="all that are good still; no secret is kept")
        listing.add_argument("--all", action="store_true", help="expired and revoked ones, too")
        listing.add_argument("--json", action="store_true", help="JSON, for programs")
        revoke = verbs.add_parser("revoke", help="let one be good for nothing")
        revoke.add_argument("prefix", help="its first letters, as listed")
        add_who(revoke)

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        {"create": self._create, "list": self._list, "revoke": self._revoke}[verb](options)

    def _create(self, options: dict[str, Any]) -> None:
        owner = account_of(options["user"])
        secret = new_secret()
        command = MakeToken(
            owner=owner.get_username(),
            label=options["name"],
            permissions=allowed_to(owner, options["role"], options["permission"]),
            days=options["days"],
            prefix=secret[:SHOWN],
            secret_digest=digest_of(secret),
        )
        self._perform(options["who"] or options["user"], command)
        if options["json"]:
            self.stdout.write(as_json({"token": secret, "permissions": command.permissions}))
            return
        self.stdout.write(secret)
        self.stderr.write(
            f"may: {', '.join(command.permissions)}; shown this once, for {options['days']} days"
        )

    def _list(self, options: dict[str, Any]) -> None:
        rows = Token.objects.select_related("user").order_by("-pk")
        kept = rows if options["all"] else rows.filter(still_good(now()))
        cells = [[*(getattr(token, name) for name in COLUMNS[:-1]), _state_of(token)] for token in kept]
        cells = [[row[0], row[1].get_username(), *row[2:]] for row in cells]
        if options["json"]:
            self.stdout.write(as_json([dict(zip(COLUMNS, row, strict=True)) for row in cells]))
        else:
            self.stdout.write("\n".join(table(COLUMNS, cells)))

    def _revoke(self, options: dict[str, Any]) -> None:
        action = self._perform(options["who"], RevokeToken(options["prefix"]))
        self.stdout.write(sentence_of(action))

    def _perform(self, who: str | None, command: Act) -> Action:
        action = perform(Actor(account_of(who), "command line"), command)
        if failed(action):
            raise CommandError(printable(action.detail))
        return action


def _state_of(token: Token) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "good" if token.holds(now()) else "expired"


def _add_create(parser: CommandParser) -> None:
    parser.add_argument("--user", required=True, help="the account that the token acts for")
    parser.add_argument("--name", required=True, help="what it is for, such as deploy")
    parser.add_argument("--role", choices=sorted(access.ROLES), help="as much of a role as the account has")
    parser.add_argument("--permission", action="append", default=[], choices=sorted(access.PERMISSIONS))
    parser.add_argument("--days", type=int, default=90, help=f"how long it lasts, 1 to {LONGEST_LIFE} (90)")
    add_who(parser)
