"""Prove the locks: resolve them for every platform and Python named in the README, wheels only, with hashes.

With `--install`, also install them with each Python 3.11 to 3.14 that is here, and check the project with it.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lock import ROOT, install_uv

PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "x86_64-apple-darwin", "aarch64-apple-darwin")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# The embedded Redis leaves some platforms out by its markers; then this lock resolves to nothing.
LOCKS = ("requirements.txt", "requirements-redis.txt", "requirements-dev.txt", "requirements-bench.txt")


def main(options: list[str]) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        uv = install_uv(Path(scratch) / "uv")
        faults = list(unresolved(uv, Path(scratch)))
        if "--install" in options:
            faults += not_installable(Path(scratch))
    print("\n".join(faults) or "the locks hold on every platform")
    return 1 if faults else 0


def unresolved(uv: Path, scratch: Path) -> Iterator[str]:
    for lock, platform, python in itertools.product(LOCKS, PLATFORMS, PYTHONS):
        where = [
            "--python-platform",
            platform,
            "--python-version",
            python,
            "--target",
            str(scratch / "nowhere"),
        ]
        how = ["--dry-run", "--require-hashes", "--only-binary", ":all:", "--quiet"]
        done = run([str(uv), "pip", "install", *where, *how, "-r", lock])
        print(f"{'ok  ' if done.returncode == 0 else 'FAIL'} {lock} {platform} {python}", flush=True)
        if done.returncode:
            yield f"{lock} on {platform} with Python {python}: {done.stderr.strip()}"


def not_installable(scratch: Path) -> Iterator[str]:
    for version in PYTHONS:
        python = find_python(version)
        if python is None:
            print(f"--   Python {version} is not here", flush=True)
            continue
        said = install(python, scratch / version)
        print(f"{'FAIL' if said else 'ok  '} installed and checked with Python {version}", flush=True)
        if said:
            yield f"{python}: {said}"


def find_python(version: str) -> str | None:
    """A Python of this version that can make environments: on PATH, else one of pyenv's."""
    candidates = [f"python{version}"]
    if shutil.which("pyenv"):
        candidates.append(f"{run(['pyenv', 'prefix', version]).stdout.strip()}/bin/python3")
    return next(
        (python for python in candidates if shutil.which(python) and is_usable(python, version)), None
    )


def is_usable(python: str, version: str) -> bool:
    """Whether this is that version, and can make environments."""
    asked = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
    return run([python, "-c", asked]).stdout.strip() == version


def install(python: str, folder: Path) -> str:
    """Install with this Python and check the project; what went wrong, or nothing."""
    inside = folder / "bin/python"
    steps = [
        [python, "-m", "venv", str(folder)],
        [str(inside), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", "requirements.txt"],
        [str(inside), "-m", "pip", "check"],
        [str(inside), "manage.py", "check"],
    ]
    for step in steps:
        done = run(step, DATA_DIR=str(folder / "data"))
        if done.returncode:
            return (done.stdout + done.stderr).strip()
    return ""


def run(command: list[str], **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
