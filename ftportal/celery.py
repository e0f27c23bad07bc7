"""The Celery application. Tasks are found in each app's `tasks.py`; messages are JSON only."""

import os

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ftportal.settings")
# By name, since CELERY_BROKER_TRANSPORT is not looked at where the address begins redis+socket.
TRANSPORT_ALIASES |= dict.fromkeys(("redis", "rediss"), "ftportal.jobs.broker:Transport")

app = Celery("ftportal")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
