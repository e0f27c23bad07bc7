"""People who use the portal, and the roles that say what each may do."""

from django.contrib.auth.models import AbstractUser
from django.db import models


class Role(models.TextChoices):
    """What a person may do beside looking, which everybody with a login may."""

    TRAINER = "trainer", "Trainer"
    REVIEWER = "reviewer", "Reviewer"
    RELEASER = "releaser", "Releaser"
    ADMINISTRATOR = "administrator", "Administrator"


class User(AbstractUser):
    """A person with a login. One person may hold several roles."""

    is_trainer = models.BooleanField("trainer", default=False, help_text="uploads and starts runs")
    is_reviewer = models.BooleanField("reviewer", default=False, help_text="votes on spot-checks")
    is_releaser = models.BooleanField("releaser", default=False, help_text="promotes, rolls back")

    def __str__(self) -> str:
        return self.get_full_name() or self.username

    @property
    def is_administrator(self) -> bool:
        """Edits rules and people. An administrator does not get the other roles with it."""
        return self.is_superuser

    def has_role(self, role: str) -> bool:
        """Whether the person holds `role`, one of `Role`."""
        return self.is_active and bool(getattr(self, f"is_{role}"))

    @property
    def role_names(self) -> list[str]:
        """The roles held, in words, for pages."""
        return [str(label) for value, label in Role.choices if self.has_role(value)]
