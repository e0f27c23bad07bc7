"""Addresses of the dashboard."""

from django.urls import path

from ftportal.dashboard import probe_views, views

app_name = "dashboard"
urlpatterns = [
    path("", views.home, name="home"),
    path("compare/", views.compare, name="compare"),
    path("lineage/", views.lineage, name="lineage"),
    path("panels/dashboard/runs/<int:pk>/", views.run_outcome, name="run_outcome"),
    path("panels/dashboard/blends/<int:pk>/", views.blend_curve, name="blend_curve"),
    path("healthz", probe_views.healthz, name="healthz"),
    path("readyz", probe_views.readyz, name="readyz"),
    path("metrics", probe_views.metrics, name="metrics"),
]
