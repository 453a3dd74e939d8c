"""The site's own settings, in a home folder of the tests' own and with a database for each session."""

import os
import tempfile

os.environ["AGENTLOOP_HOME"] = os.environ.get("AGENTLOOP_TEST_HOME") or os.path.join(
    tempfile.gettempdir(), f"agentloop-tests-{os.getuid()}"
)
os.environ.setdefault("AGENTLOOP_SECRET_KEY", "only-for-tests-only-for-tests-only-for-tests-0123456789")
# A developer's own choices must not decide whether the tests pass.
for name in [name for name in os.environ if name.startswith("AGENTLOOP_")]:
    if name not in (
        "AGENTLOOP_HOME",
        "AGENTLOOP_TEST_HOME",
        "AGENTLOOP_SECRET_KEY",
        "AGENTLOOP_REQUIRE_BROWSER",
        "AGENTLOOP_REQUIRE_NODE",
        "AGENTLOOP_LOG_LEVEL",
    ):
        del os.environ[name]

from agentloop.settings import *  # noqa: E402, F403
from agentloop.settings import DATABASES, STATIC_ROOT  # noqa: E402

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
# Two sessions at once share the server, not the database.
DATABASES["default"]["TEST"] = {"NAME": f"test_agentloop_{os.getpid()}"}
DATABASES["default"]["CONN_MAX_AGE"] = 0
# Whitenoise warns where there is none, and a warning is an error here.
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
CELERY_TASK_ALWAYS_EAGER = True
CELERY_TASK_EAGER_PROPAGATES = True
