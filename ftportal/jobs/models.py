"""Jobs for the engines, and the attempts made at them. The database is the truth about both."""

import uuid
from pathlib import Path

from django.conf import settings
from django.db import models


class JobState(models.TextChoices):
    """queued -> claimed -> running -> succeeded | failed | cancelled; an expired lease requeues."""

    QUEUED = "queued", "Waiting"
    CLAIMED = "claimed", "Starting"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Stopped"


LIVE_STATES = (JobState.QUEUED, JobState.CLAIMED, JobState.RUNNING)


class Job(models.Model):
    """One piece of work for an engine. Its kind says which; see `registry`."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=20)
    title = models.CharField(max_length=200, help_text="what it does, in words, for pages")
    state = models.CharField(max_length=10, choices=JobState, default=JobState.QUEUED)
    fence = models.PositiveIntegerField(default=0, help_text="raised by every claim")
    lease_until = models.DateTimeField(null=True, blank=True, help_text="in database time")
    attempts_left = models.PositiveSmallIntegerField(default=3)
    stop_requested = models.BooleanField(default=False)
    finish_handled = models.BooleanField(default=False, help_text="follow-ups were triggered")
    resume_state = models.CharField(
        max_length=300, blank=True, help_text="last complete state, relative to the job's directory"
    )
    phase = models.CharField(max_length=60, blank=True)
    progress_done = models.FloatField(null=True, blank=True)
    progress_total = models.FloatField(null=True, blank=True)
    progress_unit = models.CharField(max_length=30, blank=True)
    seconds_left = models.FloatField(null=True, blank=True)
    error_where = models.CharField(max_length=300, blank=True)
    error_message = models.TextField(blank=True)
    error_cure = models.TextField(blank=True)
    exit_code = models.IntegerField(null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    rung_at = models.DateTimeField(null=True, blank=True, help_text="when Celery was last told")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at",)
        indexes = (models.Index(fields=("state", "lease_until")),)

    def __str__(self) -> str:
        return self.title

    @property
    def is_live(self) -> bool:
        """Whether it waits or works: its pages poll only while it lives."""
        return self.state in LIVE_STATES

    @property
    def directory(self) -> Path:
        """RUN_DIR or EVAL_DIR: config.json and attempts/<fence>/ lie here."""
        return Path(settings.FTPORTAL_DATA) / "jobs" / str(self.id)

    @property
    def attempt_directory(self) -> Path:
        """Directory of the current fence's attempt."""
        return self.directory / "attempts" / str(self.fence)

    @property
    def output_directory(self) -> Path:
        """What the engine left; meaningful once the job has succeeded."""
        return self.attempt_directory / "output"

    @property
    def progress_share(self) -> float | None:
        """Progress from 0 to 1, None while nothing is known."""
        if self.progress_done is None or not self.progress_total:
            return None
        return min(1.0, self.progress_done / self.progress_total)


class Attempt(models.Model):
    """One claim of a job by one worker. Its fence is its number within the job."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="attempts")
    fence = models.PositiveIntegerField()
    host = models.CharField(max_length=200)
    engine_pid = models.PositiveIntegerField(null=True, blank=True)
    started_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    exit_code = models.IntegerField(null=True, blank=True)
    outcome = models.CharField(max_length=20, blank=True, help_text="done, failed, stopped, lost")

    class Meta:
        ordering = ("fence",)
        constraints = (
            models.UniqueConstraint(fields=("job", "fence"), name="one_attempt_a_fence"),
        )

    def __str__(self) -> str:
        return f"{self.job}, attempt {self.fence}"
