"""What every page's left navigation needs."""

from typing import Any

from django.http import HttpRequest


def navigation(request: HttpRequest) -> dict[str, Any]:
    """Entries of the navigation in pipeline order."""
    return {}
