"""The audit log: one row for each change that a person or the portal made."""

from typing import Any, NoReturn

from django.conf import settings
from django.db import models


class AuditIsAppendOnlyError(Exception):
    """Somebody tried to change or delete a row of the audit log."""


class AuditQuerySet(models.QuerySet["AuditEntry"]):
    """Rows can be read and added, nothing else."""

    def update(self, **kwargs: Any) -> NoReturn:
        """Refused."""
        raise AuditIsAppendOnlyError("rows of the audit log are never changed")

    def delete(self) -> NoReturn:
        """Refused."""
        raise AuditIsAppendOnlyError("rows of the audit log are never deleted")


class AuditEntry(models.Model):
    """One change, written in the transaction that made it."""

    at = models.DateTimeField(auto_now_add=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="who; none where the portal did it by itself",
    )
    action = models.CharField(max_length=60, help_text="such as rule.changed")
    target_kind = models.CharField(max_length=60, blank=True, help_text="what it was done to")
    target_key = models.CharField(max_length=40, blank=True)
    target_name = models.CharField(max_length=300, blank=True, help_text="its name at that time")
    before = models.JSONField(default=dict, blank=True)
    after = models.JSONField(default=dict, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    address = models.GenericIPAddressField(null=True, blank=True, help_text="from where")

    objects = AuditQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        verbose_name_plural = "audit entries"
        indexes = (
            models.Index(fields=("action", "-id"), name="audit_by_action"),
            models.Index(fields=("target_kind", "target_key"), name="audit_by_target"),
        )

    def __str__(self) -> str:
        return f"{self.action} {self.target_name}".strip()

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Add the row; one that is there already is never changed."""
        if not self._state.adding:
            raise AuditIsAppendOnlyError("rows of the audit log are never changed")
        kwargs["force_insert"] = True
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused."""
        raise AuditIsAppendOnlyError("rows of the audit log are never deleted")
