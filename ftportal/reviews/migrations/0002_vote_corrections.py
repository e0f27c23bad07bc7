"""Votes hold a note, a corrected answer and kinds of defects, and know when they were changed."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('reviews', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='generation',
            name='token_count',
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='spotcheck',
            name='votes_complete_at',
            field=models.DateTimeField(blank=True, help_text='first time that all votes were in, and names to be seen', null=True),
        ),
        migrations.AddField(
            model_name='vote',
            name='changed_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='vote',
            name='corrected_answer',
            field=models.TextField(blank=True, help_text='what it should have said', max_length=20000),
        ),
        migrations.AddField(
            model_name='vote',
            name='left_category',
            field=models.CharField(blank=True, choices=[('fact', 'Wrong fact'), ('code', 'Broken code'), ('refuses', 'Refuses'), ('topic', 'Off topic'), ('repeats', 'Repeats itself'), ('unsafe', 'Unsafe'), ('format', 'Wrong format'), ('language', 'Faulty language'), ('other', 'Other')], max_length=10),
        ),
        migrations.AddField(
            model_name='vote',
            name='names_were_visible',
            field=models.BooleanField(default=False, help_text='given or changed after the names could be seen'),
        ),
        migrations.AddField(
            model_name='vote',
            name='note',
            field=models.TextField(blank=True, max_length=2000),
        ),
        migrations.AddField(
            model_name='vote',
            name='right_category',
            field=models.CharField(blank=True, choices=[('fact', 'Wrong fact'), ('code', 'Broken code'), ('refuses', 'Refuses'), ('topic', 'Off topic'), ('repeats', 'Repeats itself'), ('unsafe', 'Unsafe'), ('format', 'Wrong format'), ('language', 'Faulty language'), ('other', 'Other')], max_length=10),
        ),
    ]
