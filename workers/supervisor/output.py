"""What the processes say, one line at a time, with the name of the process before it."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TextIO

LONGEST_BACKLOG = 10_000
COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)
# A job's text may hold escape sequences; a terminal must not obey them.
HARMLESS = {code: "�" for code in (*range(32), *range(127, 160)) if chr(code) != "\t"}


class Printer:
    """Prints lines from a thread, so that a terminal that stands still never blocks the processes.

    When 10,000 lines wait, further ones are dropped and counted.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._coloured = stream.isatty() and "NO_COLOR" not in os.environ
        self._names: list[str] = []
        self._width = 0
        self._dropped = 0
        self._lines: queue.Queue[str | None] = queue.Queue(LONGEST_BACKLOG)
        self._thread = threading.Thread(target=self._print_lines, name="printer", daemon=True)
        self._thread.start()

    def announce(self, names: list[str]) -> None:
        """Say beforehand which names will come, so that the columns stand straight."""
        self._names = names
        self._width = max(map(len, names))

    def line(self, name: str, text: str) -> None:
        try:
            self._lines.put_nowait(f"{self._prefix(name)} {text.translate(HARMLESS)}\n")
        except queue.Full:
            self._dropped += 1

    def close(self, timeout: float = 2.0) -> None:
        """Print what still waits, but not for longer than `timeout` seconds."""
        if self._dropped:
            self.line("up", f"{self._dropped} lines were dropped: the terminal could not keep up")
        try:
            self._lines.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)

    def _prefix(self, name: str) -> str:
        padded = f"{name:<{self._width}} |"
        if not self._coloured or name not in self._names:
            return padded
        return f"\x1b[{COLOURS[self._names.index(name) % len(COLOURS)]}m{padded}\x1b[0m"

    def _print_lines(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._stream.write(line)
                if self._lines.empty():
                    self._stream.flush()
            except (OSError, ValueError):
                continue  # the terminal is gone; the processes are stopped by SIGHUP
        self._flush()

    def _flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


async def lines_from(descriptor: int) -> AsyncIterator[str]:
    """The lines written into a pipe whose reading end is `descriptor`; closes it at the end."""
    reader = asyncio.StreamReader()
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
        waiting = b""
        while chunk := await reader.read(65_536):
            lines, waiting = split_lines(waiting, chunk)
            for line in lines:
                yield line
        transport.close()
    if waiting:
        yield waiting.decode(errors="replace")


def split_lines(waiting: bytes, chunk: bytes, longest: int = 65_536) -> tuple[list[str], bytes]:
    """Whole lines out of `waiting + chunk`, and what is left over; a line over `longest` bytes is cut."""
    *whole, rest = (waiting + chunk).split(b"\n")
    if len(rest) > longest:
        whole, rest = [*whole, rest], b""
    return [line.rstrip(b"\r").decode(errors="replace") for line in whole], rest
