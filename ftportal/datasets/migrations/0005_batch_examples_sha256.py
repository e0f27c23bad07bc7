"""Batches know the hash of their examples; those that are ready are hashed now, as they are."""

import hashlib
from pathlib import Path

from django.conf import settings
from django.db import migrations, models


def hash_ready(apps, schema_editor):
    Batch = apps.get_model("datasets", "Batch")
    for batch in Batch.objects.filter(state="ready"):
        path = Path(settings.FTPORTAL_DATA) / "batches" / str(batch.pk) / "examples.jsonl"
        if path.is_file():
            digest = hashlib.sha256()
            with path.open("rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
            Batch.objects.filter(pk=batch.pk).update(examples_sha256=digest.hexdigest())


class Migration(migrations.Migration):
    dependencies = [("datasets", "0004_batches_say_what_is_trained")]

    operations = [
        migrations.AddField(
            model_name="batch",
            name="examples_sha256",
            field=models.CharField(
                blank=True,
                default="",
                help_text="of examples.jsonl, once it is ready",
                max_length=64,
            ),
            preserve_default=False,
        ),
        migrations.RunPython(hash_ready, migrations.RunPython.noop),
    ]
