"""Blind spot-checks: two checkpoints answer the same prompts and people look at both."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from ftportal.accounts.sight import SightManager
from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import Prompt, PromptSet
from ftportal.jobs.models import Job
from ftportal.pages.dates import moment_words


class GenerationSet(models.Model):
    """One checkpoint's answers to the prompts of one check, under settings with a seed of its own.

    Never shared between checks: the side whose text came again would be known as the champion's.
    """

    checkpoint = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="+")
    prompt_set = models.ForeignKey(PromptSet, on_delete=models.PROTECT, related_name="+")
    settings = models.JSONField(help_text="max_new_tokens, temperature, seed, dtype")
    settings_hash = models.CharField(max_length=64)
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="generation_set")
    complete = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    restricted_by = ("checkpoint__language_model",)
    objects: SightManager["GenerationSet"] = SightManager()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("checkpoint", "prompt_set", "settings_hash"), name="answers_made_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.checkpoint} on {self.prompt_set}"


class Generation(models.Model):
    """One answer."""

    generation_set = models.ForeignKey(
        GenerationSet, on_delete=models.CASCADE, related_name="generations"
    )
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT)
    text = models.TextField()
    finish_reason = models.CharField(max_length=20, blank=True)
    token_count = models.PositiveIntegerField(null=True, blank=True)

    restricted_by = ("generation_set__checkpoint__language_model",)
    objects: SightManager["Generation"] = SightManager()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("generation_set", "prompt"), name="one_answer_a_prompt"
            ),
        )

    def __str__(self) -> str:
        return self.text

    @property
    def is_cut(self) -> bool:
        """Whether it ended at the length limit and not by itself."""
        return self.finish_reason == "length"

    @property
    def cut_at_tokens(self) -> int:
        """Where a cut answer was cut; answers of earlier versions know only their limit."""
        limit: int = self.generation_set.settings["max_new_tokens"]
        return limit if self.token_count is None else self.token_count


class SpotCheckState(models.TextChoices):
    """Answers are generated, then people vote, then somebody decides."""

    GENERATING = "generating", "Preparing answers"
    OPEN = "open", "In review"
    APPROVED = "approved", "Approved"
    REJECTED = "rejected", "Rejected"
    CLOSED = "closed", "Closed"


UNDECIDED = (SpotCheckState.GENERATING, SpotCheckState.OPEN)


class DefectRule(models.TextChoices):
    """Which of the candidate's defective answers count against the plan."""

    ALL = "all", "every defective answer"
    NEW = "new", "defective answers where the other answer was fine"


class SpotCheck(models.Model):
    """A plan, fixed before the first vote: these prompts, this many votes, this many defects."""

    candidate = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="spot_checks")
    baseline = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="+")
    prompt_set = models.ForeignKey(PromptSet, on_delete=models.PROTECT, related_name="+")
    candidate_answers = models.ForeignKey(GenerationSet, on_delete=models.PROTECT, related_name="+")
    baseline_answers = models.ForeignKey(GenerationSet, on_delete=models.PROTECT, related_name="+")
    submitter = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="who started the run: never counts as a reviewer of it",
    )
    votes_an_item = models.PositiveSmallIntegerField(default=1)
    voters_may_decide = models.BooleanField(
        default=True, help_text="whether who has voted on it may also approve or reject it"
    )
    defects_allowed = models.PositiveSmallIntegerField(default=0)
    defect_rule = models.CharField(max_length=3, choices=DefectRule, default=DefectRule.NEW)
    state = models.CharField(
        max_length=10, choices=SpotCheckState, default=SpotCheckState.GENERATING
    )
    opened_at = models.DateTimeField(null=True, blank=True, help_text="both sides' answers there")
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    decided_at = models.DateTimeField(null=True, blank=True)
    decision_reason = models.TextField(blank=True)
    votes_complete_at = models.DateTimeField(
        null=True, blank=True, help_text="first time that all votes were in, and names to be seen"
    )
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_reason = models.TextField(
        blank=True, help_text="why nobody decides it any more; names no candidate"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    restricted_by = ("candidate__language_model",)
    objects: SightManager["SpotCheck"] = SightManager()

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("candidate", "baseline", "prompt_set"),
                condition=Q(state__in=("generating", "open")),
                name="one_undecided_check_a_pair",
            ),
        )

    def __str__(self) -> str:
        """The blind title: lists, messages and the audit log must not name the sides by mistake."""
        return self.blind_title

    @property
    def blind_title(self) -> str:
        """A title that names neither side, for as long as people still vote."""
        return f"Spot-check of {moment_words(self.created_at)}"

    @property
    def named_title(self) -> str:
        """Who was compared with whom: only where `blindness.names_shown` says so."""
        return f"{self.candidate} against {self.baseline}"

    @property
    def is_decided(self) -> bool:
        """Whether somebody approved or rejected it."""
        return self.state in (SpotCheckState.APPROVED, SpotCheckState.REJECTED)

    @property
    def is_closed(self) -> bool:
        """Whether it ended without a decision."""
        return self.state == SpotCheckState.CLOSED


class ReviewItem(models.Model):
    """One prompt of a spot-check."""

    spot_check = models.ForeignKey(SpotCheck, on_delete=models.CASCADE, related_name="items")
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT)
    position = models.PositiveIntegerField()
    votes_needed = models.PositiveSmallIntegerField(
        default=1, help_text="the plan's, and one more where two reviewers disagree"
    )

    restricted_by = ("spot_check__candidate__language_model",)
    objects: SightManager["ReviewItem"] = SightManager()

    class Meta:
        ordering = ("position",)
        constraints = (
            models.UniqueConstraint(fields=("spot_check", "prompt"), name="a_prompt_once_a_check"),
        )

    def __str__(self) -> str:
        return str(self.prompt)


class Preference(models.TextChoices):
    """Which answer the reviewer prefers."""

    LEFT = "left", "Left"
    RIGHT = "right", "Right"
    TIE = "tie", "Tie"
    BOTH_BAD = "both_bad", "Both bad"


class DefectCategory(models.TextChoices):
    """What kind of defect an answer has."""

    FACT = "fact", "Wrong fact"
    CODE = "code", "Broken code"
    REFUSES = "refuses", "Refuses"
    TOPIC = "topic", "Off topic"
    REPEATS = "repeats", "Repeats itself"
    UNSAFE = "unsafe", "Unsafe"
    FORMAT = "format", "Wrong format"
    LANGUAGE = "language", "Faulty language"
    OTHER = "other", "Other"


class Vote(models.Model):
    """One reviewer's judgement of one item. Sides are drawn for that reviewer and item."""

    item = models.ForeignKey(ReviewItem, on_delete=models.CASCADE, related_name="votes")
    reviewer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    candidate_is_left = models.BooleanField()
    preference = models.CharField(max_length=10, choices=Preference)
    left_defective = models.BooleanField(default=False)
    left_reason = models.CharField(max_length=500, blank=True)
    right_defective = models.BooleanField(default=False)
    right_reason = models.CharField(max_length=500, blank=True)
    left_category = models.CharField(max_length=10, choices=DefectCategory, blank=True)
    right_category = models.CharField(max_length=10, choices=DefectCategory, blank=True)
    note = models.TextField(blank=True, max_length=2000)
    corrected_answer = models.TextField(
        blank=True, max_length=20_000, help_text="what it should have said"
    )
    names_were_visible = models.BooleanField(
        default=False, help_text="given or changed after the names could be seen"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(null=True, blank=True)

    restricted_by = ("item__spot_check__candidate__language_model",)
    objects: SightManager["Vote"] = SightManager()

    class Meta:
        ordering = ("pk",)
        constraints = (
            models.UniqueConstraint(fields=("item", "reviewer"), name="one_vote_a_reviewer"),
            models.CheckConstraint(
                condition=~Q(left_defective=True, left_reason=""), name="left_defect_has_a_reason"
            ),
            models.CheckConstraint(
                condition=~Q(right_defective=True, right_reason=""),
                name="right_defect_has_a_reason",
            ),
        )

    def __str__(self) -> str:
        return f"{self.reviewer} on {self.item}"

    @property
    def candidate_defect(self) -> str:
        """Why the candidate's answer is defective; empty where it is not."""
        if self.candidate_is_left:
            return self.left_reason if self.left_defective else ""
        return self.right_reason if self.right_defective else ""

    @property
    def baseline_defect(self) -> str:
        """Why the baseline's answer is defective; empty where it is not."""
        if self.candidate_is_left:
            return self.right_reason if self.right_defective else ""
        return self.left_reason if self.left_defective else ""

    @property
    def candidate_category(self) -> str:
        """What kind of defect the candidate's answer has, in words; empty where none was said."""
        left, right = self.get_left_category_display(), self.get_right_category_display()
        return left if self.candidate_is_left else right

    @property
    def baseline_category(self) -> str:
        """What kind of defect the baseline's answer has, in words; empty where none was said."""
        left, right = self.get_left_category_display(), self.get_right_category_display()
        return right if self.candidate_is_left else left

    @property
    def preferred(self) -> str:
        """The preference with its side looked up: candidate, baseline, tie or both_bad."""
        if self.preference in (Preference.TIE, Preference.BOTH_BAD):
            return self.preference
        return "candidate" if (self.preference == "left") == self.candidate_is_left else "baseline"
