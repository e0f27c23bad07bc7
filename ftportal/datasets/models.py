"""Training batches, held-out sets and prompt sets: the texts that go in and that measure."""

import uuid
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import models
from django.db.models import Q

from corpus.formats import FORMATS
from corpus.reasoning import CHOICES, LEARN
from ftportal.accounts.sight import SightManager
from ftportal.checkpoints.models import LanguageModel
from ftportal.jobs.models import Job
from ftportal.pages.describing import Described


class BatchKind(models.TextChoices):
    """What a batch teaches. General examples keep what the model already knows."""

    AGENT_LOG = "agent_log", "Agent log"
    CONVERSATION = "conversation", "Conversation"
    DREAM = "dream", "Dream"
    PERSONALITY = "personality", "Personality"
    GENERAL = "general", "General"


class BatchState(models.TextChoices):
    """A batch is read once after its upload; what is ready never changes again."""

    READING = "reading", "Reading"
    ASKING = "asking", "Needs an answer"
    COUNTING = "counting", "Counting tokens"
    READY = "ready", "Ready"
    REFUSED = "refused", "Refused"


REFUSED_KEPT = timedelta(days=7)
"""How long the file of a refused batch is kept."""
WORKING_STATES = (BatchState.READING, BatchState.COUNTING)
"""States in which a job works on a batch."""


DECISION_RULES = [("last", "last answer"), ("all", "every answer")]
"""Which of the assistant's turns are decisions where the file marks none."""

REASONING = list(CHOICES.items())
"""What becomes of the reasoning before an answer."""


class Batch(Described):
    """An uploaded training file, immutable. Counts are None until it was read."""

    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=20, choices=BatchKind)
    language_model = models.ForeignKey(
        LanguageModel, on_delete=models.PROTECT, help_text="whose tokenizer counts the tokens"
    )
    decision_rule = models.CharField(max_length=8, default="last", choices=DECISION_RULES)
    reasoning = models.CharField(max_length=10, default=LEARN, choices=REASONING)
    options = models.JSONField(
        default=dict, blank=True, help_text="what people answered: see `ftportal.datasets.options`"
    )
    variant = models.CharField(
        max_length=64, blank=True, help_text="tells readings of one file by different options apart"
    )
    report = models.JSONField(default=dict, blank=True, help_text="summary.json of its reading")
    state = models.CharField(max_length=10, choices=BatchState, default=BatchState.READING)
    filename = models.CharField(max_length=255)
    sha256 = models.CharField(max_length=64)
    examples_sha256 = models.CharField(
        max_length=64, blank=True, help_text="of examples.jsonl, once it is ready"
    )
    size_bytes = models.PositiveBigIntegerField()
    format = models.CharField(max_length=40, blank=True)
    example_count = models.PositiveIntegerField(null=True, blank=True)
    held_out_count = models.PositiveIntegerField(null=True, blank=True)
    context_token_count = models.PositiveBigIntegerField(null=True, blank=True)
    decision_token_count = models.PositiveBigIntegerField(null=True, blank=True)
    decision_count = models.PositiveBigIntegerField(null=True, blank=True)
    token_length_max = models.PositiveIntegerField(
        null=True, blank=True, help_text="tokens of the longest example"
    )
    decision_length_max = models.PositiveIntegerField(
        null=True, blank=True, help_text="tokens of the longest decision"
    )
    problem_count = models.PositiveIntegerField(null=True, blank=True)
    job = models.OneToOneField(Job, null=True, blank=True, on_delete=models.SET_NULL)
    uploaded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    origin = models.CharField(max_length=300, blank=True, help_text="where the examples come from")
    consent = models.CharField(
        max_length=300, blank=True, help_text="who agreed to training on them, and to what"
    )
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    withdrawn_reason = models.CharField(max_length=300, blank=True)
    refused_at = models.DateTimeField(null=True, blank=True)
    version_of = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="versions"
    )
    version = models.PositiveIntegerField(default=1)
    version_reason = models.CharField(
        max_length=300, blank=True, help_text="why it was read again with other choices"
    )

    restricted_by = ("language_model",)
    objects: SightManager["Batch"] = SightManager()

    class Meta:
        ordering = ("-created_at",)
        verbose_name_plural = "batches"
        constraints = (
            models.UniqueConstraint(
                fields=("sha256", "language_model", "decision_rule", "reasoning", "variant"),
                condition=~Q(state="refused"),
                name="the_same_file_only_once",
            ),
        )

    def __str__(self) -> str:
        return self.name if self.version == 1 else f"{self.name}, version {self.version}"

    @property
    def directory(self) -> Path:
        """source (as uploaded) and, once ready, examples.jsonl lie here."""
        return Path(settings.FTPORTAL_DATA) / "batches" / str(self.pk)

    @property
    def source_path(self) -> Path:
        """The file as it was uploaded."""
        return self.directory / "source"

    @property
    def good_count(self) -> int:
        """Examples of the file that can be used, as far as that is known."""
        count: int = self.report.get("counted", self.report.get("example_count", 0))
        return count

    @property
    def trained_count(self) -> int:
        """Examples that a run may learn: those not held out."""
        return max(0, (self.example_count or 0) - (self.held_out_count or 0))

    @property
    def kept_until(self) -> datetime | None:
        """When the file of a refused batch is removed; None while it is not refused."""
        return self.refused_at + REFUSED_KEPT if self.refused_at else None

    @property
    def decision_token_share(self) -> float | None:
        """Decision tokens among all tokens, from 0 to 1; None until the batch was read."""
        if self.decision_token_count is None or self.context_token_count is None:
            return None
        total = self.decision_token_count + self.context_token_count
        return self.decision_token_count / total if total else None

    @property
    def decision_tokens_mean(self) -> float | None:
        """Decision tokens an example, on average; None until the batch was read."""
        if self.decision_token_count is None or not self.example_count:
            return None
        return self.decision_token_count / self.example_count

    @property
    def format_in_words(self) -> str:
        """The format of its examples as pages name it."""
        return {**FORMATS, "mixed": "several formats"}.get(self.format, self.format)

    @property
    def read_path(self) -> Path:
        """What reading made of the file, until the batch is ready."""
        return self.directory / "read.jsonl"

    @property
    def examples_path(self) -> Path:
        """The canonical examples, one JSON object a line, that engines read."""
        return self.directory / "examples.jsonl"


class Upload(models.Model):
    """A file that arrives in pieces; it becomes a batch and goes once it is whole."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    filename = models.CharField(max_length=255)
    fingerprint = models.CharField(
        max_length=200, help_text="name, size and time of change, as the browser tells them"
    )
    size_bytes = models.PositiveBigIntegerField()
    received_bytes = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.filename

    @property
    def is_whole(self) -> bool:
        """Whether all of it has arrived."""
        return self.received_bytes == self.size_bytes

    @property
    def path(self) -> Path:
        """Where its bytes are put together."""
        return Path(settings.FTPORTAL_DATA) / "uploads" / self.pk.hex


class BatchProblem(models.Model):
    """Why a batch was refused: one line of the file, what is wrong, what to do."""

    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="problems")
    line = models.PositiveIntegerField(help_text="1 is the first line; 0 is the whole file")
    message = models.TextField()
    cure = models.TextField(blank=True)
    text = models.TextField(blank=True, help_text="the beginning of what stands there")

    restricted_by = ("batch__language_model",)
    objects: SightManager["BatchProblem"] = SightManager()

    class Meta:
        ordering = ("line",)

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


class ColumnShape(models.Model):
    """What the columns of a file of no known format were said to be, for the next one like it."""

    shape = models.CharField(max_length=64, unique=True, help_text="hash of the columns' names")
    columns = models.JSONField(help_text="{column: target}")

    def __str__(self) -> str:
        return ", ".join(self.columns)


class HeldOutSet(models.Model):
    """Text that is never trained on, for perplexity. One domain each: prose, code, ..."""

    name = models.CharField(max_length=120, unique=True)
    domain = models.CharField(max_length=40)
    source = models.CharField(max_length=300, help_text="where the text came from")
    sha256 = models.CharField(max_length=64, unique=True)
    document_count = models.PositiveIntegerField()
    size_bytes = models.PositiveBigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> Path:
        """Its documents, one {"text", "sha256"} a line."""
        return Path(settings.FTPORTAL_DATA) / "held_out" / f"{self.sha256}.jsonl"


class PromptGroup(models.TextChoices):
    """What a spot-check prompt looks at."""

    CODE = "code", "Code"
    FILESYSTEM = "filesystem", "Filesystem reasoning"
    CONVERSATION = "conversation", "Conversation coherence"


ANSWER_TOKENS = 512
"""The longest answer to a prompt where nobody said otherwise."""


class PromptSetKind(models.TextChoices):
    """How a spot-check takes its prompts from a set, and so what it shows."""

    CURATED = "curated", "Chosen by hand"
    POOL = "pool", "A pool that checks draw from"


class PromptSet(models.Model):
    """A list of prompts for spot-checks that never changes."""

    name = models.CharField(max_length=120, unique=True)
    kind = models.CharField(
        max_length=10,
        choices=PromptSetKind,
        default=PromptSetKind.CURATED,
        help_text="a pool carries a claim about all of its prompts; a curated set carries none",
    )
    max_new_tokens = models.PositiveIntegerField(
        default=ANSWER_TOKENS, help_text="the longest answer; what is longer is cut, and says so"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def is_pool(self) -> bool:
        """Whether checks draw their prompts from it at random."""
        return self.kind == PromptSetKind.POOL


class Prompt(models.Model):
    """One prompt: a list of messages that ends with the user's."""

    prompt_set = models.ForeignKey(PromptSet, on_delete=models.CASCADE, related_name="prompts")
    group = models.CharField(max_length=20, choices=PromptGroup)
    position = models.PositiveIntegerField()
    messages = models.JSONField(help_text='[{"role": "user", "content": "..."}]')
    sha256 = models.CharField(max_length=64)

    class Meta:
        ordering = ("position",)
        constraints = (
            models.UniqueConstraint(fields=("prompt_set", "sha256"), name="a_prompt_once_a_set"),
        )

    def __str__(self) -> str:
        return str(self.messages[-1]["content"])
