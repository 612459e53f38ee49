"""`manage.py act <command> --field value --as ACCOUNT --reason "…"`: every command that there is."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dashboard.shell import act, add_acting, add_fields, failed, sentence_of, told_fields, told_of
from dashboard.terminal import as_json
from jobs.perform import registered


class Command(BaseCommand):
    help = "Do what a button of the pages does; the same permissions, reach and audit."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="command_name", metavar="COMMAND", required=True)
        for name, command in sorted(registered.commands.items()):
            words = " ".join((command.__doc__ or "").split())
            verb = verbs.add_parser(name, help=words.partition(".")[0], description=words)
            add_acting(verb)
            add_fields(verb, command)

    def handle(self, *args: Any, command_name: str, **options: Any) -> None:
        action = act(registered.commands[command_name], told_fields(options), options)
        if failed(action):
            raise CommandError(as_json(told_of(action)) if options["json"] else sentence_of(action))
        self.stdout.write(as_json(told_of(action)) if options["json"] else sentence_of(action))
