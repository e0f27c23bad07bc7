"""Addresses of the evaluations app."""

from django.urls import path

from ftportal.evaluations import report_views, rule_views, views

app_name = "evaluations"
urlpatterns = [
    path("evaluations/", views.evaluations, name="evaluations"),
    path("evaluations/<int:pk>/", views.evaluation, name="evaluation"),
    path("evaluations/of/<int:pk>/", views.checkpoint_panel, name="checkpoint_panel"),
    path("evaluations/of/<int:pk>/measure/", views.measure, name="measure"),
    path("reports/<int:pk>/", report_views.report, name="report"),
    path("verdicts/<int:pk>/", report_views.verdict, name="verdict"),
    path("suites/", rule_views.suites, name="suites"),
    path("rules/", rule_views.rules, name="rules"),
    path("rules/<int:pk>/edit/", rule_views.rule_edit, name="rule_edit"),
]
