"""Addresses of the dashboard."""

from django.urls import path

from ftportal.dashboard import views

app_name = "dashboard"
urlpatterns = [
    path("", views.home, name="home"),
    path("compare/", views.compare, name="compare"),
    path("lineage/", views.lineage, name="lineage"),
]
