"""Address of the audit page."""

from django.urls import path

from ftportal.audit import views

app_name = "audit"
urlpatterns = [path("audit/", views.audit, name="audit")]
