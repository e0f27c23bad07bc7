"""People who use the portal, their roles, and the links that let them in."""

from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone

from ftportal.pages.dates import DEFAULT_STYLE, DEFAULT_ZONE


class Role(models.TextChoices):
    """What a person may do beside looking, which everybody with a login may."""

    TRAINER = "trainer", "Trainer"
    REVIEWER = "reviewer", "Reviewer"
    RELEASER = "releaser", "Releaser"
    ADMINISTRATOR = "administrator", "Administrator"


FIELD_OF = {
    Role.TRAINER: "is_trainer",
    Role.REVIEWER: "is_reviewer",
    Role.RELEASER: "is_releaser",
    Role.ADMINISTRATOR: "is_superuser",
}
"""The field of a person that holds each role."""


class User(AbstractUser):
    """A person with a login. One person may hold several roles."""

    is_trainer = models.BooleanField("trainer", default=False, help_text="uploads and starts runs")
    is_reviewer = models.BooleanField("reviewer", default=False, help_text="votes on spot-checks")
    is_releaser = models.BooleanField("releaser", default=False, help_text="promotes, rolls back")
    date_style = models.CharField(
        max_length=16, default=DEFAULT_STYLE, help_text="how dates are written: `pages.dates`"
    )
    time_zone = models.CharField(
        max_length=64, default=DEFAULT_ZONE, help_text="of the times that the person reads"
    )

    def __str__(self) -> str:
        return self.get_full_name() or self.username

    @property
    def is_administrator(self) -> bool:
        """Edits rules and people. An administrator does not get the other roles with it."""
        return self.is_superuser

    def has_role(self, role: str) -> bool:
        """Whether the person holds `role`, one of `Role`."""
        return self.is_active and bool(getattr(self, FIELD_OF[Role(role)]))

    @property
    def roles(self) -> list[str]:
        """The roles given, whether or not the person may log in now."""
        return [str(role.value) for role, field in FIELD_OF.items() if getattr(self, field)]

    @property
    def role_names(self) -> list[str]:
        """The roles held, in words, for pages."""
        return [str(label) for value, label in Role.choices if self.has_role(value)]


class LinkKind(models.TextChoices):
    """What a one-time link lets its holder do."""

    FIRST = "first", "First administrator"
    INVITATION = "invitation", "Invitation"
    RESET = "reset", "New password"


LINK_LIFETIME = {
    LinkKind.FIRST: timedelta(days=7),
    LinkKind.INVITATION: timedelta(days=7),
    LinkKind.RESET: timedelta(days=1),
}


class Link(models.Model):
    """A link that works once. Only its hash is kept: who reads the database cannot use it."""

    kind = models.CharField(max_length=12, choices=LinkKind)
    token_hash = models.CharField(max_length=64, unique=True)
    display_name = models.CharField(max_length=150, blank=True, help_text="who it is meant for")
    email = models.EmailField(blank=True)
    roles = models.JSONField(default=list, help_text="of `Role`, which the person gets")
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="links",
        help_text="whose password it sets; who joined by it",
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.display_name}".strip()

    @property
    def is_open(self) -> bool:
        """Whether it can still be used."""
        return self.used_at is None and self.expires_at > timezone.now()

    @property
    def role_names(self) -> list[str]:
        """The roles it gives, in words."""
        return [str(Role(role).label) for role in self.roles]


class LoginSession(models.Model):
    """A browser in which somebody is logged in."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="login_sessions"
    )
    session_key = models.CharField(max_length=40, unique=True)
    address = models.GenericIPAddressField(null=True, blank=True)
    browser = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("-seen_at",)

    def __str__(self) -> str:
        return f"{self.user} in {self.browser or 'a browser'}"
