"""The portal's settings with the counting app, for processes that tests start."""

from ftportal.settings import *  # noqa: F403
from ftportal.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.engines.apps.CountingConfig"]
