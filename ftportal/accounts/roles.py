"""Authorisation: the first line of every view that changes something."""

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from ftportal.accounts.models import Role, User


def require_role(request: HttpRequest, *roles: Role) -> User:
    """The logged-in user, who must hold one of `roles`; raises PermissionDenied (403) otherwise.

    Login itself is enforced for every page by LoginRequiredMiddleware.
    """
    user = request.user
    if isinstance(user, User) and any(user.has_role(role) for role in roles):
        return user
    wanted = " or ".join(role.label.lower() for role in roles)
    raise PermissionDenied(f"This needs the role {wanted}.")
