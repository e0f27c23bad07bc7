"""Addresses of the dashboard."""

from django.urls import path

from ftportal.dashboard import views

app_name = "dashboard"
urlpatterns = [path("", views.home, name="home")]
