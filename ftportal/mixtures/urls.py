"""Addresses of the mixtures app."""

from django.urls import path

from ftportal.mixtures import views

app_name = "mixtures"
urlpatterns = [
    path("mixtures/", views.mixtures, name="mixtures"),
    path("mixtures/new/", views.mixture_new, name="mixture_new"),
    path("mixtures/<int:pk>/", views.mixture, name="mixture"),
    path("mixtures/<int:pk>/first/", views.first, name="first"),
    path("mixtures/<int:pk>/delete/", views.mixture_remove, name="mixture_delete"),
]
