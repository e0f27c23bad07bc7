"""Addresses of the datasets app."""

from django.urls import path

from ftportal.datasets import views, views_measures

app_name = "datasets"
urlpatterns = [
    path("batches/", views.batches, name="batches"),
    path("batches/new/", views.batch_new, name="batch_new"),
    path("batches/<int:pk>/", views.batch, name="batch"),
    path("batches/<int:pk>/delete/", views.batch_remove, name="batch_delete"),
    path("held-out/", views_measures.held_out_sets, name="held_out_sets"),
    path("held-out/new/", views_measures.held_out_set_new, name="held_out_set_new"),
    path("held-out/<int:pk>/", views_measures.held_out_set, name="held_out_set"),
    path("prompts/", views_measures.prompt_sets, name="prompt_sets"),
    path("prompts/new/", views_measures.prompt_set_new, name="prompt_set_new"),
    path("prompts/<int:pk>/", views_measures.prompt_set, name="prompt_set"),
]
