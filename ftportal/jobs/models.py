"""Jobs for the engines, and the attempts made at them. The database is the truth about both."""

import uuid
from pathlib import Path

from django.conf import settings
from django.db import models
from django.utils import timezone

from engine.process import DIVERGED
from ftportal.accounts.sight import SightManager, hidden_models, leading_to, viewer_key


class JobState(models.TextChoices):
    """queued -> claimed -> running -> succeeded | failed | cancelled; an expired lease requeues."""

    QUEUED = "queued", "Waiting"
    CLAIMED = "claimed", "Starting"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Stopped"


LIVE_STATES = (JobState.QUEUED, JobState.CLAIMED, JobState.RUNNING)
LEASED_STATES = (JobState.CLAIMED, JobState.RUNNING)
ENDED_STATES = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)
ATTEMPTS = 3
"""How often a job is tried before it has failed; a stop on request is not counted."""


class JobManager(SightManager["Job"]):
    """The jobs that the person who looks may see."""

    def get_queryset(self) -> models.QuerySet["Job"]:
        """Where anything is hidden, so is what leads to no model any more, such as the reading of a
        batch that was deleted, but from who asked for it."""
        jobs = super().get_queryset()
        if not hidden_models():
            return jobs
        known = models.Q(created_by=viewer_key())
        for path in Job.restricted_by:
            known |= leading_to(Job, path)
        return jobs.filter(known)


class Job(models.Model):
    """One piece of work for an engine. Its kind says which; see `registry`."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=20)
    queue = models.CharField(max_length=20, default="default", help_text="Celery's queue")
    title = models.CharField(max_length=200, help_text="what it does, in words, for pages")
    state = models.CharField(max_length=10, choices=JobState, default=JobState.QUEUED)
    badge = models.GeneratedField(
        expression=models.Case(
            models.When(state="failed", exit_code=DIVERGED, then=models.Value("diverged")),
            default=models.F("state"),
        ),
        output_field=models.CharField(max_length=10),
        db_persist=True,
        help_text="the state in the word of its badge, made by the database to sort and filter by",
    )
    fence = models.PositiveIntegerField(default=0, help_text="raised by every claim")
    lease_until = models.DateTimeField(
        null=True, blank=True, help_text="in database time; after the end, of its follow-ups"
    )
    attempts_left = models.PositiveSmallIntegerField(default=ATTEMPTS)
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
    queued_at = models.DateTimeField(default=timezone.now, help_text="when it last began to wait")
    rung_at = models.DateTimeField(null=True, blank=True, help_text="when Celery was last told")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    restricted_by: tuple[str, ...] = ()
    """Ways from a job to a language model, one or more of each kind: see `registry.register`."""
    objects = JobManager()

    class Meta:
        ordering = ("-created_at",)
        indexes = (
            models.Index(fields=("state", "lease_until")),
            models.Index(fields=("state", "queue", "queued_at")),
            models.Index(fields=("badge", "id")),
        )

    def __str__(self) -> str:
        return self.title

    @property
    def is_live(self) -> bool:
        """Whether it waits or works: its pages poll only while it lives."""
        return self.state in LIVE_STATES

    @property
    def has_ended(self) -> bool:
        """Whether nothing will happen to it any more, unless a person starts it again."""
        return self.state in ENDED_STATES

    @property
    def is_settled(self) -> bool:
        """Whether it has ended and its result is in place: pages have nothing to wait for."""
        return self.has_ended and self.finish_handled

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


class Outcome(models.TextChoices):
    """How an attempt ended."""

    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    STOPPED = "stopped", "Stopped"
    RETURNED = "returned", "Given back by a worker that was stopped"
    LOST = "lost", "Lost with its worker"


class Attempt(models.Model):
    """One claim of a job by one worker. Its fence is its number within the job."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="attempts")
    fence = models.PositiveIntegerField()
    host = models.CharField(max_length=200)
    engine_pid = models.PositiveIntegerField(null=True, blank=True)
    started_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    exit_code = models.IntegerField(null=True, blank=True)
    outcome = models.CharField(
        max_length=20, choices=Outcome, blank=True, help_text="empty while it works"
    )
    events_offset_bytes = models.PositiveBigIntegerField(
        default=0, help_text="how much of events.jsonl has been recorded"
    )

    class Meta:
        ordering = ("fence",)
        constraints = (
            models.UniqueConstraint(fields=("job", "fence"), name="one_attempt_a_fence"),
        )

    def __str__(self) -> str:
        return f"{self.job}, attempt {self.fence}"
