"""What import-linter cannot see: foreign keys by string, and what importing the portal loads."""

import subprocess
import sys
from itertools import pairwise

from django.apps import apps

FLOORS = (
    "accounts",
    "audit",
    "jobs",
    "checkpoints",
    "datasets",
    "mixtures",
    "runs",
    "blends",
    "learnability",
    "evaluations",
    "reviews",
    "promotions",
    "handover",
)
FLOOR_OF = {label: number for number, label in enumerate(FLOORS)}


def test_no_foreign_key_points_to_a_higher_floor() -> None:
    upward = [
        f"{model._meta.label}.{field.name} -> {field.related_model._meta.label}"
        for label in FLOORS
        for model in apps.get_app_config(label).get_models()
        for field in model._meta.get_fields()
        if field.related_model is not None
        and not field.auto_created
        and FLOOR_OF.get(field.related_model._meta.app_label, 0) > FLOOR_OF[label]
    ]
    assert upward == []


def test_every_app_with_models_has_a_floor() -> None:
    ours = {
        config.label
        for config in apps.get_app_configs()
        if config.name.startswith("ftportal.") and list(config.get_models())
    }
    assert ours == set(FLOORS)
    assert all(FLOOR_OF[low] < FLOOR_OF[high] for low, high in pairwise(FLOORS))


def test_importing_the_urls_loads_no_torch() -> None:
    program = (
        "import os, sys, django\n"
        "os.environ['DJANGO_SETTINGS_MODULE'] = 'ftportal.settings'\n"
        "django.setup()\n"
        "import ftportal.urls, ftportal.celery\n"
        "ftportal.celery.app.loader.import_default_modules()\n"
        "heavy = {'torch', 'transformers', 'peft', 'lm_eval', 'accelerate', 'datasets'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
