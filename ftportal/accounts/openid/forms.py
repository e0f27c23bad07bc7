"""What a person types before an account elsewhere may log in as them."""

from django import forms


class ConnectForm(forms.Form):
    """The password: an open browser alone must not give somebody a way in of their own."""

    current = forms.CharField(
        label="Your password here",
        strip=False,
        max_length=4096,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        error_messages={"required": "Write your password of now."},
    )
