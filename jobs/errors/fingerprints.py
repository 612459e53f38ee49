"""What a failure has in common with others of the same cause: pure.

Two jobs failed for the same reason, as far as can be told, if they are of one
task and share the exception's type, its message without what changes from
job to job, and the innermost frame of the application's own code.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

from jobs.scopes import EXCEPTION_TYPE

UNKNOWN = "?"
LONGEST_READ, LONGEST_MESSAGE, LONGEST_TYPE, LONGEST_FRAME = 500, 300, 120, 300
# Of a traceback the end is read: that is where the fault was raised.
TRACEBACK_READ = 50_000

# What changes from job to job, and what stands for it. None of them can match what another one has left,
# and each has one way alone to match, so that no text takes long.
CHANGING: dict[str, str] = {
    "uuid": r"(?<!\w)[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}(?!\w)",
    "value": r"(?<![\w>])'[^']*'(?![\w<])|(?<![\w>])\"[^\"]*\"(?![\w<])|(?<![\w>])`[^`]*`(?![\w<])",
    "url": r"(?<!\w)[A-Za-z][A-Za-z0-9+.]{0,15}://[^\s'\"<>()]+",
    "email": r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}",
    "path": r"(?:(?<!\w)[A-Za-z]:)?(?:[/\\][\w.@~+-]+){2,}[/\\]?",
    "hex": r"(?<!\w)0[xX][0-9a-fA-F]+(?!\w)",
    "n": r"(?<!\w)\d+(?:[.,:]\d+)*(?!\w)",
    "id": r"(?<!\w)(?=\w{8})[^\W\d]*\d\w*",
    "digits": r"\d+",
}
PLACEHOLDERS = {"digits": "n"}
_changing = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in CHANGING.items()))
_one_text = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_escape = re.compile(r"\\(.)", re.DOTALL)
_spaces = re.compile(r"\s+")
_frame = re.compile(r'File "([^"\n]{1,500})", line (\d{1,9})(?:, in ([^\n]{1,200}))?')
# The code of others: what is installed, Python's own, and what runs a task.
_foreign = re.compile(
    r"(?:^|/)(?:site-packages|dist-packages|lib/python[\d.]+|celery|billiard|kombu)/|^<"
    r"|(?:^|/)workers/(?:task|request|running|limits|effects|retries)\.py$"
)


@dataclass(frozen=True)
class Cause:
    """Why a job failed. `place` is "file function" of the application's frame, `line` its line there."""

    task: str
    exception: str
    message: str
    place: str = UNKNOWN
    line: int | None = None

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits; the line is no part of it, since each release moves it."""
        parts = json.dumps([self.task, self.exception, self.message, self.place])
        return hashlib.sha256(parts.encode()).hexdigest()[:32]

    @property
    def frame(self) -> str:
        """The frame as it is shown: "file:line function"."""
        file, _, function = self.place.partition(" ")
        return self.place if self.line is None else f"{file}:{self.line} {function}".rstrip()


# What is beyond the errors that a task may have, and beyond all that are kept.
OTHER = "other"


def other_of(task: str) -> Cause:
    """The cause of what is not told apart any more."""
    return Cause(task, OTHER, "")


def cause_of(task: str | None, exception: str | None, traceback: str | None) -> Cause:
    """The cause of a failure, whatever it carries: no text is refused."""
    name, message = _told(_legible((exception or "")[:LONGEST_READ]))
    place, line = _place(traceback or "")
    return Cause(task or UNKNOWN, name, normalised(message), place, line)


def _told(text: str) -> tuple[str, str]:
    """Type and message of `KeyError('currency')` or `KeyError: currency`."""
    found = EXCEPTION_TYPE.match(text)
    if found is None:
        return UNKNOWN, text
    return found[0][:LONGEST_TYPE], _bare(text[found.end() :])


def _bare(rest: str) -> str:
    """The message without what Python's repr puts around it."""
    inner = rest[1:].removesuffix(")").removesuffix(",") if rest.startswith("(") else rest[1:].strip()
    alone = _one_text.fullmatch(inner)
    return inner if alone is None else _escape.sub(_unescaped, inner[1:-1])


def _unescaped(escape: re.Match[str]) -> str:
    """A quote or a backslash is itself; a line break or a sign without a shape is a space."""
    return escape[1] if escape[1] in "'\"\\" else " "


def normalised(message: str) -> str:
    """The message without what changes from job to job; to normalise it again changes nothing.

    Each round takes away digits, quotes, slashes or @, and puts none in their place, so it ends.
    """
    text = _spaces.sub(" ", _legible(message)).strip()[:LONGEST_MESSAGE].strip()
    while (replaced := _round(text)) != text:
        text = replaced
    return text


def _round(text: str) -> str:
    return _changing.sub(_placeholder, text)[:LONGEST_MESSAGE].strip()


def _placeholder(found: re.Match[str]) -> str:
    name = found.lastgroup or "n"
    return f"<{PLACEHOLDERS.get(name, name)}>"


def _legible(text: str) -> str:
    """Without what has no shape of its own, or turns the direction of writing."""
    return text if text.isprintable() else "".join(sign if sign.isprintable() else " " for sign in text)


def _place(traceback: str) -> tuple[str, int | None]:
    """The innermost frame of the application's own code."""
    own = [
        (file, line, function)
        for file, line, function in _frame.findall(traceback[-TRACEBACK_READ:])
        if not _foreign.search(file.replace("\\", "/"))
    ]
    if not own:
        return UNKNOWN, None
    file, line, function = own[-1]
    return _legible(f"{_short(file)} {function}".strip())[: LONGEST_FRAME - 20], int(line)


def _short(file: str) -> str:
    """The last two parts of a path, without spaces: where it is installed changes from release to release."""
    return "/".join(file.replace("\\", "/").replace(" ", "_").split("/")[-2:])
