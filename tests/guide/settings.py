"""The product's settings with the guide's app, as a reader of the guide has them."""

from dashboard.settings import *  # noqa: F403
from dashboard.settings import DATA_DIR, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.guide.shop"]
# Mail is written to files.
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = str(DATA_DIR / "mail")
