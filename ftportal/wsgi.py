"""WSGI entry point for a web server, for example `gunicorn ftportal.wsgi`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ftportal.settings")

application = get_wsgi_application()
