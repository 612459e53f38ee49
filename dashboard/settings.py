"""Django's settings. What the environment may change stands at the top; see docs/settings.md."""

from __future__ import annotations

from pathlib import Path

import django
from django.core.exceptions import ImproperlyConfigured
from environs import Env, EnvError

from dashboard.environment import (
    between,
    broker_address,
    data_folder,
    database_settings,
    embedded_socket,
    kept_secret,
    log_level,
    mail_server,
    named_secrets,
    networks,
    one_line,
    one_of,
    origins,
    path_prefix,
    public_address,
    queue_policies,
    rabbitmq_address,
    redis_address,
    retention,
    some_of,
)
from jobs.routes import Route

BASE_DIR = Path(__file__).resolve().parent.parent
env = Env()

# What the environment may change
try:
    DEBUG = env.bool("DEBUG", False)
    DEMO = env.bool("DEMO", False)
    DATA_DIR = data_folder(Path(env.str("DATA_DIR", str(BASE_DIR / ".data"))).absolute())
    SECRET_KEY = env.str("SECRET_KEY", "") or kept_secret(DATA_DIR / "secret-key")
    SECRET_KEY_FALLBACKS: list[str] = env.list("SECRET_KEY_FALLBACKS", [])
    ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", ["127.0.0.1", "localhost", "[::1]"])
    HTTPS = env.bool("HTTPS", False)
    CSRF_TRUSTED_ORIGINS = origins(env.list("TRUSTED_ORIGINS", []))
    HOST = env.str("HOST", "127.0.0.1")
    PORT = between("PORT", env.int("PORT", 8000), 1, 65_535)
    PATH_PREFIX = path_prefix(env.str("PATH_PREFIX", ""))
    PUBLIC_URL = public_address("PUBLIC_URL", env.str("PUBLIC_URL", "")).rstrip("/")
    SITE_NAME = env.str("SITE_NAME", "local")
    ENVIRONMENT = env.str("ENVIRONMENT", "development")
    RELEASE = env.str("RELEASE", "")
    EMBEDDED_REDIS = not env.str("REDIS_URL", "")
    EMBEDDED_SOCKET = embedded_socket(DATA_DIR)
    REDIS_URL = redis_address(env.str("REDIS_URL", "") or f"unix://{EMBEDDED_SOCKET}?db=0")
    BROKER_URL = rabbitmq_address(env.str("BROKER_URL", ""))
    DATABASES = {
        "default": database_settings(env.str("DATABASE_URL", f"sqlite:///{DATA_DIR / 'nightdesk.sqlite3'}"))
    }
    WEB_CONNECTIONS = between("WEB_CONNECTIONS", env.int("WEB_CONNECTIONS", 10), 0, 1_000)
    # Name : longest wait in seconds : slots that `up` starts.
    QUEUES = queue_policies(env.str("QUEUES", "high:10:4,default:60:4,low:300:2"))
    HARD_TIME_LIMIT = between("HARD_TIME_LIMIT", env.float("HARD_TIME_LIMIT", 1800.0), 1, 30 * 86_400)
    SOFT_TIME_LIMIT = between("SOFT_TIME_LIMIT", env.float("SOFT_TIME_LIMIT", 1740.0), 1, 30 * 86_400)
    VISIBILITY_TIMEOUT = between(
        "VISIBILITY_TIMEOUT", env.float("VISIBILITY_TIMEOUT", 3600.0), 1, 60 * 86_400
    )
    STOP_GRACE = between("STOP_GRACE", env.float("STOP_GRACE", 30.0), 0, 86_400)
    WORKER_LOST_RETRIES = between("WORKER_LOST_RETRIES", env.int("WORKER_LOST_RETRIES", 2), 0, 1_000)
    # In days.
    RETENTION = retention(
        succeeded=env.float("KEEP_SUCCEEDED", 7.0),
        ended=env.float("KEEP_ENDED", 30.0),
        open=env.float("KEEP_OPEN", 90.0),
        minutes=env.float("KEEP_MINUTES", 7.0),
        hours=env.float("KEEP_HOURS", 90.0),
        days=env.float("KEEP_DAYS", 1825.0),
        samples=env.float("KEEP_SAMPLES", 2.0),
        processes=env.float("KEEP_PROCESSES", 30.0),
    )
    STREAM_CAP = between("STREAM_CAP", env.int("STREAM_CAP", 500_000), 1_000, 100_000_000)
    JOB_BODY_CAP = between("JOB_BODY_CAP", env.int("JOB_BODY_CAP", 256_000), 1_000, 50_000_000)
    CLAIM_LEASE = between("CLAIM_LEASE", env.float("CLAIM_LEASE", 30.0), 1, 3600)
    LARGE_RESULT = between("LARGE_RESULT", env.int("LARGE_RESULT", 256_000), 1_000, 1_000_000_000)
    LARGE_RESULTS = one_of("LARGE_RESULTS", env.str("LARGE_RESULTS", "database"), "database", "storage")
    JOB_LOG_LINES = between("JOB_LOG_LINES", env.int("JOB_LOG_LINES", 1_000), 0, 100_000)
    JOB_LOG_BYTES = between("JOB_LOG_BYTES", env.int("JOB_LOG_BYTES", 64_000), 1_000, 10_000_000)
    WEBHOOK_SECRETS = named_secrets(env.list("WEBHOOK_SECRETS", []))
    WEBHOOK_ALLOW = some_of("WEBHOOK_ALLOW", env.list("WEBHOOK_ALLOW", []), "http", "private")
    EMAIL = mail_server(env.str("EMAIL_URL", "smtp://localhost:25"))
    DEFAULT_FROM_EMAIL = env.str("EMAIL_FROM", "nightdesk@localhost")
    DEADMAN_URL = public_address("DEADMAN_URL", env.str("DEADMAN_URL", ""))
    DEADMAN_EVERY = between("DEADMAN_EVERY", env.float("DEADMAN_EVERY", 60.0), 5, 86_400)
    KEEP_CELERY_EVENTS = env.bool("KEEP_CELERY_EVENTS", False)
    DURABLE_RESULTS = env.bool("DURABLE_RESULTS", True)
    READ_ONLY = env.bool("READ_ONLY", False)
    READY_TOKEN = env.str("READY_TOKEN", "")
    API_REQUESTS_PER_MINUTE = between(
        "API_REQUESTS_PER_MINUTE", env.int("API_REQUESTS_PER_MINUTE", 600), 1, 1_000_000
    )
    METRICS_ALLOW = networks("METRICS_ALLOW", env.list("METRICS_ALLOW", []))
    METRICS_LABEL_SETS = between("METRICS_LABEL_SETS", env.int("METRICS_LABEL_SETS", 2_000), 100, 50_000)
    DEMO_JOBS_PER_HOUR = between("DEMO_JOBS_PER_HOUR", env.int("DEMO_JOBS_PER_HOUR", 45_000), 1, 10_000_000)
    LOGGING = {"level": log_level(env.str("LOG_LEVEL", "INFO")), "json": env.bool("LOG_JSON", False)}
except EnvError as fault:
    raise ImproperlyConfigured(one_line(fault)) from None

if not SOFT_TIME_LIMIT < HARD_TIME_LIMIT < VISIBILITY_TIMEOUT:
    raise ImproperlyConfigured(
        "SOFT_TIME_LIMIT < HARD_TIME_LIMIT < VISIBILITY_TIMEOUT must hold, or running jobs start twice"
    )

# Django
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "csp",
    "django_celery_beat",
    "django_celery_results",
    *([] if django.VERSION >= (6, 0) else ["django_tasks"]),
    "jobs.apps.JobsConfig",
    "workers.apps.WorkersConfig",
    "dashboard.apps.DashboardConfig",
    *(["workers.demo.apps.DemoConfig"] if DEMO else []),
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "dashboard.middleware.TheirZone",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "dashboard.middleware.OwnPagesOnly",
    "dashboard.middleware.SignInRequired",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "dashboard.inert.Inert",
]
ROOT_URLCONF = "dashboard.urls"
ASGI_APPLICATION = "dashboard.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "dashboard.context.shell",
            ]
        },
    }
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LANGUAGE_CODE = "en"
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"
FORCE_SCRIPT_NAME = PATH_PREFIX or None
STATIC_URL = f"{PATH_PREFIX}/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
MEDIA_ROOT = DATA_DIR / "files"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "dashboard.static_files.HashedFiles"
    },
}
# Every page asks for hashed names; without the plain copies a first start compresses half as much.
WHITENOISE_KEEP_ONLY_HASHED_FILES = True
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "overview"
LOGOUT_REDIRECT_URL = "sign-in"

# Closed by default
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_NAME = "nightdesk_session"
SESSION_ENGINE = "django.contrib.sessions.backends.db"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_NAME = "nightdesk_csrf"
CSRF_FAILURE_VIEW = "dashboard.views.account.form_without_mark"
SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_REFERRER_POLICY = "same-origin"
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$"]
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_500_000
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

# Channels. redis-py 8 gives sockets a timeout of 5 s, on which an idle layer dies.
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": None}], "prefix": "nightdesk:live"},
    }
}

# Mail
EMAIL_HOST, EMAIL_PORT = EMAIL.host, EMAIL.port
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = EMAIL.user, EMAIL.password
EMAIL_USE_TLS, EMAIL_USE_SSL = EMAIL.starttls, EMAIL.tls
EMAIL_TIMEOUT = 10

# Celery (each name without CELERY_ is Celery's own)
CELERY_BROKER_URL = BROKER_URL or broker_address(REDIS_URL)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
ON_REDIS = {
    "visibility_timeout": VISIBILITY_TIMEOUT,
    "priority_steps": list(range(10)),
    "queue_order_strategy": "priority",
    # A frozen broker is noticed; a blocking read is shorter than this.
    "socket_timeout": 10,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
}
# A message counts as sent when RabbitMQ says so.
ON_RABBITMQ = {"confirm_publish": True}
CELERY_BROKER_TRANSPORT_OPTIONS = ON_RABBITMQ if BROKER_URL else ON_REDIS
CELERY_TASK_DEFAULT_PRIORITY = 5
CELERY_TASK_DEFAULT_QUEUE = "default" if "default" in QUEUES else next(iter(QUEUES))
CELERY_TASK_CREATE_MISSING_QUEUES = True
# Where jobs go whose caller names no queue or no priority: the first that fits; see docs/tasks.md#routes.
ROUTES: list[Route] = []
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = CELERY_RESULT_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = True
# A job whose process is killed runs again at most WORKER_LOST_RETRIES times (workers/request.py counts).
CELERY_TASK_REJECT_ON_WORKER_LOST = False
CELERY_TASK_RETRY_ON_WORKER_LOST = True
CELERY_TASK_TRACK_STARTED = False
CELERY_TASK_TIME_LIMIT = HARD_TIME_LIMIT
CELERY_TASK_SOFT_TIME_LIMIT = SOFT_TIME_LIMIT
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_POOL_RESTARTS = True
CELERY_WORKER_SEND_TASK_EVENTS = True
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_ENABLE_UTC = True
CELERY_RESULT_BACKEND = "workers.results:ResultBackend"
CELERY_RESULT_EXTENDED = True
CELERY_RESULT_EXPIRES = 3600 if DEMO else 7 * 86400
CELERY_RESULT_BACKEND_ALWAYS_RETRY = True
CELERY_RESULT_BACKEND_MAX_RETRIES = 12
CELERY_DB_REUSE_MAX = 1_000_000
CELERY_BEAT_SCHEDULER = "workers.scheduler:Scheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 2
CELERY_BEAT_SYNC_EVERY = 1
# A worker that publishes (a retry, the next link of a chain) waits out a restart of the broker.
CELERY_TASK_PUBLISH_RETRY_POLICY = {
    "max_retries": 20,
    "interval_start": 0,
    "interval_step": 0.2,
    "interval_max": 1,
}
CELERY_TASK_IGNORE_RESULT = False

# Django's own Tasks interface, on Celery
TASKS = {"default": {"BACKEND": "workers.tasks_backend.CeleryBackend", "QUEUES": [*QUEUES]}}

LOGGING_CONFIG = "dashboard.logs.configure"
