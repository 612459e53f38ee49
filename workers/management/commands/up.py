"""`manage.py up`: all of it on one machine, kept running until a signal comes."""

from __future__ import annotations

import asyncio
import http.client
import os
import sys
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError

from workers.demo.schedules import retire_schedules
from workers.supervisor import embedded_redis, prepare, programs
from workers.supervisor.output import Printer
from workers.supervisor.programs import Program, StopStage
from workers.supervisor.supervisor import Supervisor

PATIENCE = 60.0


class Command(BaseCommand):
    help = "Run web, workers, Beat, monitor and, where no REDIS_URL is set, Redis; restart what dies."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        prepare.check_port(settings.HOST, settings.PORT)
        with prepare.told_in_a_line():
            lock = prepare.hold_folder(settings.DATA_DIR, PATIENCE)
            redis = _redis_program() if settings.EMBEDDED_REDIS else None
        if redis is None:
            _check_redis()
        printer = Printer(sys.stdout)
        try:
            asyncio.run(_run(printer, lock, redis))
        except embedded_redis.RedisUnavailable as fault:
            raise CommandError(str(fault)) from None
        finally:
            printer.close()


async def _run(printer: Printer, lock: int, redis: Program | None) -> None:
    supervisor = Supervisor(printer, folder=settings.BASE_DIR, grace=settings.STOP_GRACE, lock=lock)
    web = programs.web(settings.HOST, settings.PORT, behind_proxy=settings.HTTPS)
    others = programs.background(settings.QUEUES.values(), demo=settings.DEMO)
    printer.announce(["up", *(program.name for program in (redis, web, *others) if program)])
    os.environ["PYTHONUNBUFFERED"] = "1"

    async def start() -> None:
        if redis is not None:
            supervisor.keep(redis)
        password = await asyncio.to_thread(_prepare)
        await embedded_redis.answers(settings.REDIS_URL)
        supervisor.keep(web)
        await _pages_answer()
        _greet(supervisor, password)
        for program in others:
            supervisor.keep(program)

    await supervisor.run(start)


def _redis_program() -> Program:
    """The embedded Redis, and nobody else's on its socket."""
    try:
        binary = embedded_redis.find_binary()
    except embedded_redis.RedisUnavailable as fault:
        raise CommandError(str(fault)) from None
    embedded_redis.end_orphan(settings.REDIS_URL)
    folder = settings.DATA_DIR / "redis"
    folder.mkdir(mode=0o700, exist_ok=True)
    return Program("redis", embedded_redis.command(binary, settings.EMBEDDED_SOCKET, folder), StopStage.REDIS)


def _check_redis() -> None:
    if fault := embedded_redis.ping(settings.REDIS_URL):
        raise CommandError(f"REDIS_URL can't be reached: {fault}")


def _prepare() -> str | None:
    """Tables, static files and the first administrator, whose made-up password it returns."""
    with prepare.told_in_a_line():
        prepare.migrate()
        prepare.collect_static()
        if not settings.DEMO:
            retire_schedules()
        return prepare.admin_password()


async def _pages_answer() -> None:
    for _ in range(int(PATIENCE * 10)):
        if await asyncio.to_thread(_answers, _local_host(), settings.PORT):
            return
        await asyncio.sleep(0.1)


def _answers(host: str, port: int) -> bool:
    """Whether the web process answers at all, be it with a refusal."""
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def _greet(supervisor: Supervisor, password: str | None) -> None:
    supervisor.say(f"Nightdesk is at http://{_local_host()}:{settings.PORT}{settings.PATH_PREFIX}/")
    if password:
        supervisor.say(f"Sign in as admin with the password {password} (shown this once)")
    else:
        supervisor.say(
            "Sign in as admin with the password you have; ADMIN_PASSWORD=… at a start sets a new one"
        )


def _local_host() -> str:
    """Where this machine reaches a server that listens on HOST."""
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104
    return str(anywhere.get(settings.HOST, settings.HOST))
