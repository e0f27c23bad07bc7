"""Addresses of the jobs app."""

from django.urls import path

from ftportal.jobs import views

app_name = "jobs"
urlpatterns = [
    path("jobs/", views.jobs, name="jobs"),
    path("jobs/<uuid:pk>/progress", views.progress, name="progress"),
    path("jobs/<uuid:pk>/stop", views.stop, name="stop"),
    path("jobs/<uuid:pk>/resume", views.resume, name="resume"),
]
