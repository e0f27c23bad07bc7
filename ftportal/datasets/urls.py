"""Addresses of the datasets app."""

from django.urls import path

from ftportal.datasets import views, views_measures, views_questions, views_uploads

app_name = "datasets"
urlpatterns = [
    path("batches/", views.batches, name="batches"),
    path("batches/new/", views.batch_new, name="batch_new"),
    path("batches/<int:pk>/", views.batch, name="batch"),
    path("batches/uploads/", views_uploads.upload_new, name="upload_new"),
    path("batches/uploads/<uuid:pk>/", views_uploads.upload_piece, name="upload_piece"),
    path("batches/look/", views_questions.look, name="look"),
    path("batches/<int:pk>/answer/", views_questions.answer, name="batch_answer"),
    path("batches/<int:pk>/columns/", views_questions.columns_preview, name="columns_preview"),
    path("batches/<int:pk>/import-good/", views_questions.import_good, name="import_good"),
    path("batches/<int:pk>/describe/", views_questions.describe, name="batch_describe"),
    path("batches/<int:pk>/withdraw/", views_questions.withdraw, name="batch_withdraw"),
    path("batches/<int:pk>/versions/new/", views_questions.version_new, name="version_new"),
    path("batches/<int:pk>/problems.csv", views_questions.problems_csv, name="problems_csv"),
    path("batches/<int:pk>/examples.jsonl", views_questions.examples_download, name="examples"),
    path("batches/<int:pk>/group/", views.batch_group, name="group"),
    path("batches/<int:pk>/delete/", views.batch_remove, name="batch_delete"),
    path("held-out/", views_measures.held_out_sets, name="held_out_sets"),
    path("held-out/new/", views_measures.held_out_set_new, name="held_out_set_new"),
    path("held-out/<int:pk>/", views_measures.held_out_set, name="held_out_set"),
    path("prompts/", views_measures.prompt_sets, name="prompt_sets"),
    path("prompts/new/", views_measures.prompt_set_new, name="prompt_set_new"),
    path("prompts/<int:pk>/", views_measures.prompt_set, name="prompt_set"),
]
