"""Prompt sets state how long an answer may be; those that are there get whole answers too."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [('datasets', '0006_notes_and_tags')]

    operations = [
        migrations.AddField(
            model_name="promptset",
            name="max_new_tokens",
            field=models.PositiveIntegerField(
                default=512, help_text="the longest answer; what is longer is cut, and says so"
            ),
        ),
    ]
