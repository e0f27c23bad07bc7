"""The table that had a row for every point: all are in curves now."""

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [("runs", "0007_points_into_curves")]

    operations = [migrations.DeleteModel(name="Metric")]
