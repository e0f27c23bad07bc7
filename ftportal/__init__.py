"""The ftportal web portal: a Django project that imports no torch, ever."""

from ftportal.celery import app as celery_app

__all__ = ["celery_app"]
