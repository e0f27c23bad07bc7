"""Addresses of the promotions app."""

from django.urls import URLPattern

app_name = "promotions"
urlpatterns: list[URLPattern] = []
