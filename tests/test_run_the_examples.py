"""The examples of docs/api.md work as they stand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from django.contrib.auth.models import User

from jobs.models import Action
from tests.api import token_of
from tests.harness import Installation
from tests.seed import seed

PAGE = Path(__file__).resolve().parent.parent / "docs/api.md"
EXAMPLES = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.skipif(
    shutil.which("curl") is None and "REQUIRE_BROWSER" not in os.environ, reason="there is no curl here"
)
def test_the_examples_work(installation: Installation, ops: User) -> None:
    seed(datetime.now(UTC))
    Action.objects.create(
        pk=1, at=datetime.now(UTC), user=ops, who="ops", via="page", target="x", command="x"
    )
    secret, _ = token_of(ops)
    _, address = installation.web()
    here = {**os.environ, "NIGHTDESK": address, "TOKEN": secret}
    for example in EXAMPLES:
        done = subprocess.run(["sh", "-c", example], env=here, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{example}\n{done.stdout}{done.stderr}"
        assert isinstance(orjson.loads(done.stdout), dict)
    assert len(EXAMPLES) > 5
    assert set(Action.objects.values_list("command", flat=True)) >= {"queue.pause", "bulk.preview"}
