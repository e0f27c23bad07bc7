"""Addresses of the portal, floor by floor."""

from django.urls import include, path

urlpatterns = [
    path("", include("ftportal.accounts.urls")),
    path("", include("ftportal.jobs.urls")),
    path("", include("ftportal.checkpoints.urls")),
    path("", include("ftportal.datasets.urls")),
    path("", include("ftportal.runs.urls")),
    path("", include("ftportal.audit.urls")),
    path("", include("ftportal.mixtures.urls")),
    path("", include("ftportal.blends.urls")),
    path("", include("ftportal.learnability.urls")),
    path("", include("ftportal.evaluations.urls")),
    path("", include("ftportal.reviews.urls")),
    path("", include("ftportal.promotions.urls")),
    path("", include("ftportal.handover.urls")),
    path("", include("ftportal.dashboard.urls")),
]
