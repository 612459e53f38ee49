"""`manage.py jobs list|show|retry|revoke|…`: jobs on the command line."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dashboard import moments
from dashboard.shell import (
    account_of,
    act,
    add_acting,
    add_fields,
    add_who,
    failed,
    now,
    sentence_of,
    told_fields,
    told_of,
)
from dashboard.terminal import as_json, facts, table
from jobs import job_frame, scopes, search
from jobs.models import Cluster, Job, State
from jobs.perform import registered

OF_JOBS = "job."
COLUMNS = ("task_id", "task", "queue", "state", "published_at", "ended_at", "total", "worker", "exception")


class Command(BaseCommand):
    help = "List jobs, show one, and act on it."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
        _add_list(verbs.add_parser("list", help="the newest jobs; 50 at a time"))
        show = verbs.add_parser("show", help="all that is known of a job")
        show.add_argument("task_id")
        show.add_argument("--cluster", type=int, default=Cluster.DEFAULT_ID)
        add_who(show)
        for name, command in sorted(registered.commands.items()):
            if name.startswith(OF_JOBS):
                words = " ".join((command.__doc__ or "").split())
                verb = verbs.add_parser(name.removeprefix(OF_JOBS), help=words.partition(".")[0])
                verb.add_argument("field_task_id", metavar="task_id")
                add_acting(verb)
                add_fields(verb, command, without=("task_id",))

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        {"list": self._list, "show": self._show}.get(verb, self._act)(verb, options)

    def _list(self, verb: str, options: dict[str, Any]) -> None:
        page = search.find(_query(options), account_of(options["who"]))
        rows = [[getattr(job, name) for name in COLUMNS] for job in page.jobs]
        if options["json"]:
            told = {"jobs": [dict(zip(COLUMNS, row, strict=True)) for row in rows], "next": page.older}
            self.stdout.write(as_json(told))
            return
        self.stdout.write("\n".join(table(COLUMNS, rows)))
        if page.older is not None:
            self.stdout.write(f"more: --cursor {page.older}")

    def _show(self, verb: str, options: dict[str, Any]) -> None:
        user = account_of(options["who"])
        rows = Job.objects.visible_to(user).select_related("payload")
        scope = scopes.scope_of(user)
        found = rows.filter(cluster=options["cluster"], task_id=options["task_id"]).first()
        if found is None or scope is None:
            raise CommandError("no such job is recorded, or it is beyond the reach of this account")
        frame = job_frame.job(found, scopes.known(scope), now())
        told = {name: value for name, value in frame.items() if name not in ("topic", "at")}
        self.stdout.write(as_json(told) if options["json"] else "\n".join(facts(told)))

    def _act(self, verb: str, options: dict[str, Any]) -> None:
        action = act(registered.commands[OF_JOBS + verb], told_fields(options), options)
        if failed(action):
            raise CommandError(as_json(told_of(action)) if options["json"] else sentence_of(action))
        self.stdout.write(as_json(told_of(action)) if options["json"] else sentence_of(action))


def _query(options: dict[str, Any]) -> search.Query:
    """Raises CommandError for a span that ends before it begins."""
    try:
        return search.Query(
            state=options["state"],
            task=options["task"],
            queue=options["queue"],
            since=options["since"],
            until=options["until"],
            before=options["cursor"],
            cluster_id=options["cluster"],
        )
    except ValueError as fault:
        raise CommandError(f"--since and --until: {fault}") from None


def _moment(text: str) -> datetime:
    try:
        return moments.read(text)
    except moments.NoMoment as fault:
        raise ArgumentTypeError(str(fault)) from None


def _add_list(parser: CommandParser) -> None:
    parser.add_argument("--state", choices=State.values)
    parser.add_argument("--task")
    parser.add_argument("--queue")
    parser.add_argument("--since", type=_moment, help="published from then on: 2026-11-22T02:41, in UTC")
    parser.add_argument("--until", type=_moment, help="published before")
    parser.add_argument("--cursor", type=int, help="where the page begins: what the one before has named")
    parser.add_argument("--cluster", type=int, default=Cluster.DEFAULT_ID, help="its number")
    add_who(parser)
