"""Home, compare and lineage: they read every floor and write none."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def home(request: HttpRequest) -> HttpResponse:
    """Where the work stands, and what waits for this person."""
    return render(request, "dashboard/home.html")
