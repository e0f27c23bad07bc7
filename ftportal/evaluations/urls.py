"""Addresses of the evaluations app."""

from django.urls import path

from ftportal.evaluations import benchmark_views, report_views, rule_views, suite_views, views

app_name = "evaluations"
urlpatterns = [
    path("evaluations/", views.evaluations, name="evaluations"),
    path("evaluations/<int:pk>/", views.evaluation, name="evaluation"),
    path("evaluations/<int:pk>/again/", views.measure_again, name="measure_again"),
    path("evaluations/of/<int:pk>/", views.checkpoint_panel, name="checkpoint_panel"),
    path("evaluations/of/<int:pk>/measure/", views.measure, name="measure"),
    path("reports/<int:pk>/", report_views.report, name="report"),
    path("verdicts/<int:pk>/", report_views.verdict, name="verdict"),
    path("suites/", suite_views.suites, name="suites"),
    path("suites/new/", suite_views.suite_new, name="suite_new"),
    path("benchmarks/", benchmark_views.benchmarks, name="benchmarks"),
    path("benchmarks/new/", benchmark_views.benchmark_new, name="benchmark_new"),
    path("benchmarks/<int:pk>/", benchmark_views.benchmark, name="benchmark"),
    path("benchmarks/<int:pk>/delete/", benchmark_views.benchmark_delete, name="benchmark_delete"),
    path("rules/", rule_views.rules, name="rules"),
    path("rules/<int:pk>/edit/", rule_views.rule_edit, name="rule_edit"),
]
