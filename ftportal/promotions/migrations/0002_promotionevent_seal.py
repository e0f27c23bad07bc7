"""Entries carry a seal; those that are there are sealed with the key of this portal."""

from django.db import migrations, models


def entries_seal(apps, schema_editor):
    from ftportal.promotions.sealing import seal_of

    Event = apps.get_model("promotions", "PromotionEvent")
    for event in Event.objects.all():
        Event.objects.filter(pk=event.pk).update(seal=seal_of(event.hash))


class Migration(migrations.Migration):
    dependencies = [("promotions", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="promotionevent",
            name="seal",
            field=models.CharField(
                blank=True,
                default="",
                help_text="HMAC of the hash by a key outside the database",
                max_length=64,
            ),
            preserve_default=False,
        ),
        migrations.RunPython(entries_seal, migrations.RunPython.noop),
    ]
