"""The product's settings in a folder of their own, with what makes a suite fast.

TEST_DATABASE=postgresql runs the suite, and the real processes that it starts,
on a PostgreSQL of its own.
"""

import os
import tempfile

os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="nd-")
for name in (
    "REDIS_URL", "BROKER_URL", "DATABASE_URL", "SECRET_KEY", "QUEUES", "HTTPS", "PATH_PREFIX", "READY_TOKEN",
):  # fmt: skip
    os.environ.pop(name, None)
os.environ["DEMO"] = "1"
ON_POSTGRESQL = {"sqlite": False, "postgresql": True}[os.environ.get("TEST_DATABASE", "sqlite")]
if ON_POSTGRESQL:
    # conftest.py starts a server in this folder.
    os.environ["DATABASE_URL"] = f"postgresql://nightdesk@/nightdesk?host={tempfile.mkdtemp(prefix='nd-pg-')}"

from dashboard.settings import *  # noqa: E402, F403
from dashboard.settings import DATA_DIR, DATABASES, INSTALLED_APPS, STATIC_ROOT, STORAGES  # noqa: E402

# The shop of docs/guide.md, which has no migrations.
INSTALLED_APPS = [*INSTALLED_APPS, "tests.guide.shop"]
# A file, not memory: workers, Beat and monitor of a test are real processes that share it.
DATABASES["default"]["TEST"] = {"NAME": None if ON_POSTGRESQL else str(DATA_DIR / "test.sqlite3")}
# The suite itself is no web process, also where it holds the pages' application.
WEB_CONNECTIONS = 0
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
STATIC_ROOT.mkdir(exist_ok=True)
