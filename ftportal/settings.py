"""Settings of the portal. Everything that differs between machines comes from the environment.

| variable | meaning | default |
|---|---|---|
| FTPORTAL_SECRET_KEY(_FILE) | Django's secret key | none: the portal refuses to start |
| FTPORTAL_DATA | folder of database, models, batches, jobs | var/ in the checkout |
| DATABASE_URL | PostgreSQL or other database | SQLite in FTPORTAL_DATA |
| FTPORTAL_REDIS_URL | Celery's broker | redis://127.0.0.1:6379/0 |
| FTPORTAL_ALLOWED_HOSTS | comma-separated host names | localhost,127.0.0.1 |
| FTPORTAL_HTTPS | cookies and redirects for HTTPS only | true |
| FTPORTAL_HSTS_SECONDS | how long browsers insist on HTTPS for this host | 0: not told to |
| FTPORTAL_METRICS_TOKEN(_FILE) | what Prometheus sends to read /metrics | none: no such page |
| FTPORTAL_DEBUG | Django's debug pages | false |
| FTPORTAL_UPLOAD_LIMIT_MIB | largest batch or held-out file | 1024 |
| FTPORTAL_LEASE_SECONDS | how long a silent worker keeps its job | 60 |
| FTPORTAL_SAVE_SECONDS | how long a stopped engine may take to save | 120 |
| FTPORTAL_SWEEP_SECONDS | how often lost jobs and follow-ups are looked for | 15 |
| FTPORTAL_REREAD_HOUR | hour (UTC) from which on champions and anchors are read again | 3 |
| FTPORTAL_HUB | whether models and benchmark data may come from the Hugging Face hub | false |
| FTPORTAL_BENCHMARK_DATA | copies of hub data sets, <owner>/<name> each | FTPORTAL_DATA/datasets |
| FTPORTAL_MODEL_ROOTS | more folders, comma-separated, that models may come from | none |
| FTPORTAL_SERVING_GROUP | a group of the system whose members may read champions | none |
| FTPORTAL_LEDGER_KEY(_FILE) | seals the ledger; keep it apart from the database | ledger/key |
| FTPORTAL_SEED | whether migrating brings the suites, rules and prompts of a new portal | true |
| FTPORTAL_MAIL_HOST, _PORT, _USER, _PASSWORD, _TLS, _FROM | mails links | none: handed over |
| FTPORTAL_OIDC_ISSUER | OpenID provider that people may sign in with | none |
| FTPORTAL_OIDC_CLIENT_ID, _CLIENT_SECRET(_FILE) | what the portal is called there | none |
| FTPORTAL_OIDC_NAME | what the button calls the provider | its host |
| FTPORTAL_OIDC_NEWCOMERS | whether people whom nobody invited may come in, without roles | false |
| FTPORTAL_SECOND_FACTOR | codes of an app at log-in: off, optional or required | off |
"""

import importlib.util
import os
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
from celery.schedules import crontab
from csp.constants import NONCE, NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from ftportal import environment

BASE_DIR = Path(__file__).resolve().parent.parent
# Sessions and examples lie there: nobody but the portal's own user reads what it writes.
os.umask(0o077)
FTPORTAL_DATA = Path(environment.secret("FTPORTAL_DATA") or BASE_DIR / "var").resolve()
FTPORTAL_UPLOAD_LIMIT_BYTES = environment.integer("FTPORTAL_UPLOAD_LIMIT_MIB", default=1024) * 2**20
FTPORTAL_MODEL_ROOTS = environment.words("FTPORTAL_MODEL_ROOTS", default="")
FTPORTAL_SERVING_GROUP = environment.secret("FTPORTAL_SERVING_GROUP") or ""
FTPORTAL_HUB = environment.boolean("FTPORTAL_HUB", default=False)
FTPORTAL_SEED = environment.boolean("FTPORTAL_SEED", default=True)
FTPORTAL_BENCHMARK_DATA = Path(
    environment.secret("FTPORTAL_BENCHMARK_DATA") or FTPORTAL_DATA / "datasets"
).resolve()

FTPORTAL_LEASE_SECONDS = environment.integer("FTPORTAL_LEASE_SECONDS", default=60, minimum=2)
FTPORTAL_SAVE_SECONDS = environment.integer("FTPORTAL_SAVE_SECONDS", default=120, minimum=1)
FTPORTAL_SWEEP_SECONDS = environment.integer("FTPORTAL_SWEEP_SECONDS", default=15, minimum=1)
FTPORTAL_REREAD_HOUR = environment.integer("FTPORTAL_REREAD_HOUR", default=3)
if FTPORTAL_REREAD_HOUR > 23:
    message = f"FTPORTAL_REREAD_HOUR={FTPORTAL_REREAD_HOUR} is not an hour: write 0 to 23"
    raise ImproperlyConfigured(message)

DEBUG = environment.boolean("FTPORTAL_DEBUG", default=False)
HTTPS = environment.boolean("FTPORTAL_HTTPS", default=True)
ALLOWED_HOSTS = environment.words("FTPORTAL_ALLOWED_HOSTS", default="localhost,127.0.0.1")
_secret_key = environment.secret("FTPORTAL_SECRET_KEY")
if _secret_key is None:
    raise ImproperlyConfigured(
        "FTPORTAL_SECRET_KEY is not set: give it, or name a file with it in "
        "FTPORTAL_SECRET_KEY_FILE (`make run` makes one for you)"
    )
SECRET_KEY = _secret_key

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "axes",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.mfa",
    "django_htmx",
    "csp",
    "ftportal.audit",
    "ftportal.accounts",
    "ftportal.pages",
    "ftportal.jobs",
    "ftportal.checkpoints",
    "ftportal.datasets",
    "ftportal.mixtures",
    "ftportal.runs",
    "ftportal.blends",
    "ftportal.learnability",
    "ftportal.evaluations",
    "ftportal.reviews",
    "ftportal.promotions",
    "ftportal.handover",
    "ftportal.dashboard",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "ftportal.pages.characters.NulMiddleware",
    "ftportal.audit.acting.ActingMiddleware",
    "ftportal.accounts.sight.SightMiddleware",
    "ftportal.accounts.middleware.SessionMiddleware",
    "ftportal.accounts.dates.DatesMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "ftportal.accounts.second_factor.middleware.SecondFactorMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "ftportal.urls"
WSGI_APPLICATION = "ftportal.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
                "ftportal.dashboard.context_processors.navigation",
            ],
            "builtins": ["ftportal.pages.templatetags.pages"],
        },
    }
]

_SQLITE: dict[str, Any] = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": FTPORTAL_DATA / "db.sqlite3",
    # Deferred transactions gave "database is locked" under three writers, immediate ones none.
    "OPTIONS": {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    },
}
FTPORTAL_METRICS_TOKEN = environment.secret("FTPORTAL_METRICS_TOKEN") or ""

_database_url = environment.secret("DATABASE_URL")
DATABASES: dict[str, Any] = {
    "default": dj_database_url.parse(_database_url) if _database_url else _SQLITE
}
if sqlite3.sqlite_version_info < (3, 35):
    raise ImproperlyConfigured("SQLite 3.35 or newer is needed")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "accounts:login"
LOGIN_REDIRECT_URL = "dashboard:home"
LOGOUT_REDIRECT_URL = "accounts:login"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
# Ten wrong passwords for one name from one address, and that pair waits a quarter of an hour.
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_CLIENT_IP_CALLABLE = "ftportal.audit.acting.address_of"
AXES_LOCKOUT_CALLABLE = "ftportal.accounts.views.locked_out"
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
# allauth is a library here: none of its pages has an address (see ftportal.accounts.openid).
# Its tables are always there, so that a provider can be configured, and taken away, at any time.
FTPORTAL_OIDC_ISSUER = environment.issuer("FTPORTAL_OIDC_ISSUER")
FTPORTAL_OIDC_CLIENT_ID = environment.secret("FTPORTAL_OIDC_CLIENT_ID") or ""
FTPORTAL_OIDC_CLIENT_SECRET = environment.secret("FTPORTAL_OIDC_CLIENT_SECRET") or ""
FTPORTAL_OIDC_NAME = (
    environment.secret("FTPORTAL_OIDC_NAME") or urlsplit(FTPORTAL_OIDC_ISSUER).hostname or ""
)
FTPORTAL_OIDC_NEWCOMERS = environment.boolean("FTPORTAL_OIDC_NEWCOMERS", default=False)
if FTPORTAL_OIDC_ISSUER and not FTPORTAL_OIDC_CLIENT_ID:
    raise ImproperlyConfigured(
        "FTPORTAL_OIDC_ISSUER is set and FTPORTAL_OIDC_CLIENT_ID is not: register the portal with "
        "the provider, and give the client id that it shows"
    )
SOCIALACCOUNT_STORE_TOKENS = False
FTPORTAL_SECOND_FACTOR = environment.choice("FTPORTAL_SECOND_FACTOR", "off", "optional", "required")
MFA_ADAPTER = "ftportal.accounts.second_factor.adapter.Adapter"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "ftportal"
MFA_TOTP_TOLERANCE = 1  # a telephone's clock may be half a minute off
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True  # for the names of months; pages themselves are in English

STATIC_URL = "static/"
_bokeh = importlib.util.find_spec("bokeh")
if _bokeh is None or _bokeh.origin is None:
    raise ImproperlyConfigured("the package bokeh is not installed")
STATICFILES_DIRS = [
    BASE_DIR / "ftportal" / "static",
    ("bokeh", Path(_bokeh.origin).parent / "server" / "static" / "js"),
]
WHITENOISE_USE_FINDERS = True

FILE_UPLOAD_HANDLERS = [
    "ftportal.datasets.uploads.LimitUploadHandler",
    "django.core.files.uploadhandler.TemporaryFileUploadHandler",
]
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 2**20

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_SSL_REDIRECT = HTTPS
# A load balancer asks this process, not the proxy in front of it.
SECURE_REDIRECT_EXEMPT = ["^healthz$", "^readyz$", "^metrics$"]
# Browsers remember it and cannot be told otherwise: only who runs the host can know that it stays
# on HTTPS, and nobody here speaks for its whole domain.
SECURE_HSTS_SECONDS = environment.integer("FTPORTAL_HSTS_SECONDS", default=0) if HTTPS else 0
SILENCED_SYSTEM_CHECKS = ["security.W004", "security.W005", "security.W021"]
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = 12 * 3600  # since somebody was there: see ftportal.accounts.middleware

EMAIL_HOST = environment.secret("FTPORTAL_MAIL_HOST") or ""
EMAIL_PORT = environment.integer("FTPORTAL_MAIL_PORT", default=587, minimum=1)
EMAIL_HOST_USER = environment.secret("FTPORTAL_MAIL_USER") or ""
EMAIL_HOST_PASSWORD = environment.secret("FTPORTAL_MAIL_PASSWORD") or ""
EMAIL_USE_TLS = environment.boolean("FTPORTAL_MAIL_TLS", default=True)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = environment.secret("FTPORTAL_MAIL_FROM") or "ftportal@localhost"

CELERY_BROKER_URL = environment.secret("FTPORTAL_REDIS_URL") or "redis://127.0.0.1:6379/0"
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TIMEZONE = "UTC"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_CONNECTION_TIMEOUT = 2
# A worker takes a message only when it is free, and then from the queues in the order of their
# names: an evaluation goes before a training run that was queued earlier.
CELERY_WORKER_DISABLE_PREFETCH = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"queue_order_strategy": "sorted", "socket_connect_timeout": 2}
# A worker that loses Redis for a moment keeps its run: the lease in the database decides.
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"  # in memory: nothing in it is worth keeping
CELERY_BEAT_SCHEDULE = {
    "sweep": {
        "task": "jobs.sweep",
        "schedule": FTPORTAL_SWEEP_SECONDS,
        # A busy worker must not find every message too old, nor a pile of them.
        "options": {"expires": max(10, FTPORTAL_SWEEP_SECONDS)},
    },
    "forget sessions": {
        "task": "accounts.sessions_forget",
        "schedule": crontab(hour="4", minute="20"),
        "options": {"expires": 3600},
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
}
