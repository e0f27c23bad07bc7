"""What people choose to export a checkpoint."""

from django import forms

from training.config.export import QUANTISATIONS


class ExportForm(forms.Form):
    """Which quantisation."""

    quantisation = forms.ChoiceField(
        choices=[(name, name) for name in QUANTISATIONS],
        error_messages={
            "required": f"Choose one of: {', '.join(QUANTISATIONS)}.",
            "invalid_choice": f"Choose one of: {', '.join(QUANTISATIONS)}.",
        },
    )
