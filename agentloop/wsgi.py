"""What the web server loads."""

import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentloop.settings")
application = get_wsgi_application()
# Everything that views need is imported before the first request rather than by it.
_ = get_resolver().url_patterns
