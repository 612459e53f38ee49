"""Compile the .in files to locks with hashes, good on every platform that the README names.

With `--upgrade` newer releases are taken; without, only what the .in files ask for changes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements", "requirements-redis", "requirements-dev", "requirements-bench")


def main(options: list[str]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        uv = install_uv(Path(scratch))
        for name in LOCKS:
            compile_lock(uv, name, options)


def install_uv(folder: Path) -> Path:
    """uv in an environment of its own, so that it never gets into a lock."""
    venv.create(folder, with_pip=True)
    subprocess.run([folder / "bin/python", "-m", "pip", "install", "--quiet", "uv"], check=True)
    return folder / "bin/uv"


def compile_lock(uv: Path, name: str, options: list[str]) -> None:
    how = "pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-annotate"
    files = ["--custom-compile-command", "make lock", f"{name}.in", "-o", f"{name}.txt"]
    subprocess.run([str(uv), *how.split(), *files, *options], cwd=ROOT, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
