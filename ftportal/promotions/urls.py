"""Addresses of the promotions app."""

from django.urls import path

from ftportal.promotions import ledger_views, reread_views, views

app_name = "promotions"
urlpatterns = [
    path("promotions/", views.promotions, name="promotions"),
    path("promotions/ledger/", ledger_views.ledger, name="ledger"),
    path("promotions/promote/<int:pk>/", views.promote, name="promote"),
    path("promotions/compare/<int:pk>/", views.compare, name="compare"),
    path("promotions/rollback/", views.rollback, name="rollback"),
    path("promotions/reread/<int:pk>/", reread_views.reread, name="reread"),
    path("promotions/files/<int:pk>/", reread_views.panel, name="reread_panel"),
    path("promotions/panel/<int:pk>/", views.checkpoint_panel, name="checkpoint_panel"),
]
