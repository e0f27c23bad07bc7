"""Addresses of the blends app."""

from django.urls import path

from ftportal.blends import views

app_name = "blends"
urlpatterns = [
    path("checkpoints/<int:pk>/blends/", views.blends, name="blends"),
    path("panels/blends/checkpoint/<int:pk>/", views.origin, name="origin"),
]
