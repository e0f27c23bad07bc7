"""Addresses of the checkpoints app."""

from django.urls import path

from ftportal.checkpoints import views
from ftportal.checkpoints.asking.views import model_asking

app_name = "checkpoints"
urlpatterns = [
    path("checkpoints/", views.checkpoints, name="checkpoints"),
    path("checkpoints/<int:pk>/", views.checkpoint, name="checkpoint"),
    path("checkpoints/<int:pk>/describe/", views.describe, name="checkpoint_describe"),
    path("checkpoints/<int:pk>/delete/", views.checkpoint_remove, name="checkpoint_delete"),
    path("models/new/", views.model_new, name="model_new"),
    path("models/intakes/<int:pk>/", views.intake, name="intake"),
    path("models/<int:pk>/asking/", model_asking, name="model_asking"),
    path("models/<int:pk>/people/", views.model_people, name="model_people"),
]
