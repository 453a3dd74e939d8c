"""The one settings file. Every variable it reads stands in .env.example, by test."""

import secrets
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from csp.constants import NONCE, NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from agentloop import embedded, env

ROOT = env.ROOT
HOME = env.home()
DEBUG = False


def _secret_key() -> str:
    """The variable, else a key made once and kept, readable by its owner alone, in the home folder."""
    given = env.text("AGENTLOOP_SECRET_KEY")
    if given:
        return given
    path = HOME / "secret_key"
    try:
        HOME.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            # Written whole before it has its name: another process may start at the same moment.
            made = HOME / f".secret_key.{secrets.token_hex(4)}"
            made.touch(mode=0o600)
            made.write_text(secrets.token_urlsafe(48))
            with suppress(FileExistsError):
                path.hardlink_to(made)
            made.unlink()
        return path.read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"AGENTLOOP_HOME ({HOME}) cannot be used: {error.strerror}. "
            "Name a folder that can be written, or set AGENTLOOP_SECRET_KEY."
        ) from error


def _base_url() -> str:
    """The variable, else the address that was asked for, else the one that `up` last served on."""
    given = env.text("AGENTLOOP_BASE_URL")
    if not given and not env.text("AGENTLOOP_PORT") and not env.text("AGENTLOOP_HOST"):
        with suppress(OSError):
            given = (HOME / "address").read_text().strip()
    shown = "127.0.0.1" if HOST in ("0.0.0.0", "::") else HOST  # noqa: S104 - compared, not bound
    return (given or f"http://{shown}:{PORT}").rstrip("/")


def _database(url: str) -> dict[str, object]:
    """Django's form of a PostgreSQL connection string (`postgresql://…`)."""
    try:
        parts = conninfo_to_dict(url)
    except ProgrammingError as error:
        raise ImproperlyConfigured(
            f"DATABASE_URL cannot be read: {str(error).strip()}. It looks like postgresql://user:password@host:5432/name."
        ) from error
    known = {name: str(parts.pop(name, "") or "") for name in ("dbname", "user", "password", "host", "port")}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": known["dbname"],
        "USER": known["user"],
        "PASSWORD": known["password"],
        "HOST": known["host"],
        "PORT": known["port"],
        # Plans are kept where `agentloop.sql` says so, and never by count. Django's default refuses to keep any.
        "OPTIONS": {"connect_timeout": 5, "application_name": "agentloop", "prepare_threshold": sys.maxsize, **parts},
        # Persistent connections measured better here than the framework's pool.
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": False,
    }


SECRET_KEY = _secret_key()
SECRET_KEY_FALLBACKS = env.words("AGENTLOOP_SECRET_KEY_FALLBACKS")

HOST = env.text("AGENTLOOP_HOST", "127.0.0.1")
PORT = env.number("AGENTLOOP_PORT", 8000, low=1, high=65535)
BASE_URL = _base_url()
BASE_URL_IS_GIVEN = bool(env.text("AGENTLOOP_BASE_URL"))
WEB_PROCESSES = env.number("AGENTLOOP_WEB_PROCESSES", 2, low=1, high=64)
WEB_THREADS = env.number("AGENTLOOP_WEB_THREADS", 8, low=1, high=64)
WORKER_PROCESSES = env.number("AGENTLOOP_WORKER_PROCESSES", 2, low=1, high=64)
METRICS_TOKEN = env.text("AGENTLOOP_METRICS_TOKEN")
ALLOWED_HOSTS = env.words("AGENTLOOP_ALLOWED_HOSTS", "*")
BEHIND_TLS = BASE_URL.startswith("https://")
TRUSTED_PROXIES = env.number("AGENTLOOP_TRUSTED_PROXIES", 0, low=0, high=10)
# Hosts that webhooks may reach although their addresses are loopback or private.
WEBHOOK_HOSTS = env.words("AGENTLOOP_WEBHOOK_HOSTS")
LOG_LEVEL = env.text("AGENTLOOP_LOG_LEVEL", "INFO").upper()
if LOG_LEVEL not in ("DEBUG", "INFO", "WARNING", "ERROR"):
    raise ImproperlyConfigured("AGENTLOOP_LOG_LEVEL takes DEBUG, INFO, WARNING or ERROR.")

DATABASE_URL = env.text("DATABASE_URL") or embedded.database_url(HOME)
BROKER_URL = env.text("BROKER_URL") or embedded.broker_url(HOME)
DATABASES = {"default": _database(DATABASE_URL)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django.contrib.humanize",
    "rest_framework",
    "drf_spectacular",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "django_htmx",
    "agentloop",
    "routing",
    "review",
    "feedback_widget",
]
MIDDLEWARE = [
    "agentloop.middleware.RequestScope",
    "django.middleware.security.SecurityMiddleware",
    "agentloop.people.static_files",
    "agentloop.people.content_policy",
    "agentloop.people.sessions",
    "django.middleware.common.CommonMiddleware",
    "agentloop.people.csrf",
    "agentloop.people.signed_in",
    "agentloop.people.messages",
    "agentloop.people.partial_pages",
    "agentloop.people.frames",
    "allauth.account.middleware.AccountMiddleware",
]
# These look for the middleware by its own name; `agentloop.people` wraps it.
SILENCED_SYSTEM_CHECKS = ["security.W002", "security.W003"]
CSRF_FAILURE_VIEW = "agentloop.error_pages.csrf_failure"
ROOT_URLCONF = "agentloop.urls"
WSGI_APPLICATION = "agentloop.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "agentloop.theme.theme_of",
            ]
        },
    }
]

# The clients follow no redirect, so nothing here may answer with one.
APPEND_SLASH = False
# The largest request is 5 MB; intake cuts texts long before that.
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024

LANGUAGE_CODE = "en"
# The feedback form's; all else is in English.
LANGUAGES = [
    ("en", "English"),
    ("es", "Español"),
    ("pt", "Português"),
    ("fr", "Français"),
    ("de", "Deutsch"),
    ("zh-hans", "简体中文"),
    ("ja", "日本語"),
    ("ar", "العربية"),
]
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = HOME / "staticfiles"
STATICFILES_DIRS = [path for path in [ROOT / "static"] if Path(path).is_dir()]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
ACCOUNT_ADAPTER = "agentloop.accounts.ClosedSignup"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_EMAIL_SUBJECT_PREFIX = "[AgentLoop] "
ACCOUNT_LOGOUT_ON_GET = False
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "overview"
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
# Who has an account is nobody's business: an unknown address gets no letter, and the page says the same.
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_SESSION_REMEMBER = True
ALLAUTH_TRUSTED_PROXY_COUNT = TRUSTED_PROXIES
MFA_ADAPTER = "agentloop.accounts.SealedSecrets"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "AgentLoop"
MFA_RECOVERY_CODES_SHOW_ONCE = True
# Addresses are an owner's word, not the visitor's: there is no letter that verifies them.
MFA_ALLOW_UNVERIFIED_EMAIL = True
OIDC_ISSUER = env.text("AGENTLOOP_OIDC_ISSUER")
OIDC_NAME = env.text("AGENTLOOP_OIDC_NAME", "single sign-on")
_OIDC_APP = {
    "provider_id": "sso",
    "name": OIDC_NAME,
    "client_id": env.text("AGENTLOOP_OIDC_CLIENT_ID"),
    "secret": env.text("AGENTLOOP_OIDC_CLIENT_SECRET"),
    "settings": {"server_url": OIDC_ISSUER, "oauth_pkce_enabled": True},
}
if OIDC_ISSUER and not _OIDC_APP["client_id"]:
    raise ImproperlyConfigured("AGENTLOOP_OIDC_ISSUER needs AGENTLOOP_OIDC_CLIENT_ID beside it.")
SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [_OIDC_APP] if OIDC_ISSUER else []}}
SOCIALACCOUNT_ADAPTER = "agentloop.accounts.KnownPeopleOnly"
# The operator chose the identity provider: an address that it has verified is that person's account here.
SOCIALACCOUNT_EMAIL_AUTHENTICATION = True
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
# A form may lead to this site alone (form-action), so the way to the provider is a link.
SOCIALACCOUNT_LOGIN_ON_GET = True
_MAIL = urlsplit(env.text("AGENTLOOP_EMAIL_URL"))
if _MAIL.scheme not in ("", "smtp", "smtps", "smtp+tls") or (_MAIL.scheme and not _MAIL.hostname):
    raise ImproperlyConfigured("AGENTLOOP_EMAIL_URL looks like smtp+tls://user:password@host:587 (or smtps:, smtp:).")
SENDS_MAIL = bool(_MAIL.scheme)
if SENDS_MAIL and not BASE_URL_IS_GIVEN:
    # Letters hold links. Whoever sends a request chooses the host that it names, so that is no place to take one from.
    raise ImproperlyConfigured("AGENTLOOP_EMAIL_URL needs AGENTLOOP_BASE_URL beside it: letters hold links.")
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if SENDS_MAIL else 'dummy'}.EmailBackend"
EMAIL_HOST, EMAIL_PORT = _MAIL.hostname or "", _MAIL.port or {"smtps": 465, "smtp+tls": 587}.get(_MAIL.scheme, 25)
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = unquote(_MAIL.username or ""), unquote(_MAIL.password or "")
EMAIL_USE_SSL, EMAIL_USE_TLS = _MAIL.scheme == "smtps", _MAIL.scheme == "smtp+tls"
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.text("AGENTLOOP_EMAIL_FROM", "AgentLoop <agentloop@localhost>")

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS
SESSION_COOKIE_HTTPONLY = True
CSRF_COOKIE_HTTPONLY = True
CSRF_TRUSTED_ORIGINS = [BASE_URL] if "://" in BASE_URL else []
SECURE_REFERRER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 31_536_000 if BEHIND_TLS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, NONCE],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "object-src": [NONE],
    }
}

# Sessions and throttles must hold across processes and outlive a lost broker: the database keeps them.
SESSION_ENGINE = "django.contrib.sessions.backends.db"
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "agentloop_cache",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["agentloop.auth.KeyOrSession"],
    "DEFAULT_PERMISSION_CLASSES": ["agentloop.auth.HasScope"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["agentloop.parsing.FastJSON"],
    "DEFAULT_SCHEMA_CLASS": "agentloop.schema.Schema",
    "EXCEPTION_HANDLER": "agentloop.errors.answer",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "AgentLoop",
    "DESCRIPTION": "A review queue for the turns of LLM agents, and a router that learns from the verdicts.",
    "VERSION": "0.1.0",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": [],
    "SERVE_AUTHENTICATION": [],
    "COMPONENT_SPLIT_REQUEST": True,
    "SERVERS": [
        {"url": "/", "description": "The key says which project."},
        {
            "url": "/p/{project}/",
            "description": "The same paths, where the key must be that project's.",
            "variables": {"project": {"default": "default", "description": "The project's slug."}},
        },
    ],
    "APPEND_COMPONENTS": {
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer <key>`"},
            "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
    },
    "ENUM_NAME_OVERRIDES": {
        "FailureCategory": "routing.engine.categories.FAILURE_CATEGORIES",
        "TurnStatus": "review.models.Status",
        "ReportStatus": "routing.serializers.ACCEPTED",
        "PathStatus": "routing.models.PathStatus",
        "RiskLevel": "routing.serializers.RISKS",
        "NoticeEvent": "agentloop.notice_api.EVENTS",
    },
    "PREPROCESSING_HOOKS": ["agentloop.schema.leave_out_prefixed_paths"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "agentloop.schema.add_error_answers",
        "agentloop.schema.add_examples",
    ],
}

CELERY_BROKER_URL = BROKER_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = "UTC"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# A lost broker is waited for, however long; what was begun is begun again.
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": "agentloop.logs.RequestId"}},
    "formatters": {"line": {"()": "agentloop.logs.Line"}},
    "handlers": {
        "console": {"class": "logging.StreamHandler", "filters": ["request_id"], "formatter": "line"},
    },
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        # They name paths, and a feedback link's path holds what a user wrote: agentloop.errors logs defects instead.
        "django.request": {"level": "CRITICAL"},
        "django.security.csrf": {"level": "CRITICAL"},
        # At INFO each tick of the clock is two lines.
        "celery": {"level": "DEBUG" if LOG_LEVEL == "DEBUG" else "WARNING"},
        "django.security.DisallowedHost": {"handlers": [], "propagate": False},
    },
}
