"""Addresses of the handover app."""

from django.urls import path

from ftportal.handover import views

app_name = "handover"
urlpatterns = [
    path("panels/hand-over/<int:pk>/", views.panel, name="panel"),
    path("checkpoints/<int:pk>/card/", views.card, name="card"),
    path("checkpoints/<int:pk>/download/", views.download, name="download"),
    path("checkpoints/<int:pk>/files/<path:name>", views.file, name="file"),
    path("checkpoints/<int:pk>/check/", views.files_check, name="files_check"),
    path("checkpoints/<int:pk>/exports/", views.export, name="export"),
    path("exports/<int:pk>/delete/", views.export_delete, name="export_delete"),
]
