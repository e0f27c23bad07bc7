"""Addresses of the runs app."""

from django.urls import path

from ftportal.runs import form_views, views

app_name = "runs"
urlpatterns = [
    path("runs/", views.runs, name="runs"),
    path("runs/new/", form_views.run_new, name="run_new"),
    path("runs/new/mixture/", form_views.run_mixture, name="run_mixture"),
    path("runs/new/preview/", form_views.run_preview, name="run_preview"),
    path("runs/<int:pk>/", views.run, name="run"),
    path("runs/<int:pk>/figures/", views.run_figures, name="run_figures"),
    path("runs/<int:pk>/metrics/", views.metrics, name="metrics"),
    path("runs/<int:pk>/metrics.csv", views.metrics_csv, name="metrics_csv"),
    path("runs/<int:pk>/describe/", views.describe, name="run_describe"),
    path("runs/<int:pk>/stop/", views.stop, name="run_stop"),
    path("runs/<int:pk>/resume/", views.resume, name="run_resume"),
    path("panels/runs/checkpoint/<int:pk>/", views.checkpoint_panel, name="checkpoint_panel"),
    path("panels/runs/batch/<int:pk>/", views.batch_panel, name="batch_panel"),
]
