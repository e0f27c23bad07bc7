"""WSGI entry point for the web server: see `ftportal.operations.web`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ftportal.settings")

application = get_wsgi_application()
