"""Addresses of the learnability app."""

from django.urls import path

from ftportal.learnability import views

app_name = "learnability"
urlpatterns = [
    path("batches/<int:pk>/decisions/", views.decisions, name="decisions"),
    path("batches/<int:pk>/decisions/score/", views.score, name="score"),
    path("panels/learnability/batch/<int:pk>/", views.panel, name="panel"),
    path("decisions/<int:pk>/leave-out/", views.leave_out, name="leave_out"),
]
