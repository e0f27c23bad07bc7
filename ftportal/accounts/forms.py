"""What people type to join, to invite, and about themselves."""

from django import forms

from ftportal.accounts.models import Role
from ftportal.pages.dates import style_choices

_ROLE_HELP = {
    Role.TRAINER: "uploads batches and starts runs",
    Role.REVIEWER: "judges spot-checks",
    Role.RELEASER: "promotes and rolls back",
    Role.ADMINISTRATOR: "people, rules, models; none of the other roles comes with it",
}


def role_choices() -> list[tuple[str, str, str]]:
    """Every role: its key, its name, and what it lets somebody do."""
    return [(role.value, str(role.label), _ROLE_HELP[role]) for role in Role]


class InviteForm(forms.Form):
    """Who is invited."""

    display_name = forms.CharField(
        label="Name", max_length=150, error_messages={"required": "Write who it is for."}
    )
    email = forms.EmailField(label="E-mail address", required=False)
    roles = forms.MultipleChoiceField(label="Roles", choices=Role.choices, required=False)


class PasswordForm(forms.Form):
    """A new password, twice."""

    password = forms.CharField(
        label="Password",
        strip=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        error_messages={"required": "Choose a password."},
    )
    again = forms.CharField(
        label="The password again",
        strip=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        error_messages={"required": "Write it a second time."},
    )

    def clean(self) -> dict[str, object]:
        """Both have to be the same."""
        cleaned: dict[str, object] = super().clean() or {}
        if cleaned.get("password") != cleaned.get("again") and "again" in cleaned:
            self.add_error("again", "The two are not the same.")
        return cleaned


class JoinForm(PasswordForm):
    """How somebody who was invited is called."""

    field_order = ("display_name", "username", "password", "again")
    display_name = forms.CharField(
        label="Your name", max_length=150, error_messages={"required": "Write your name."}
    )
    username = forms.CharField(
        label="Name to log in with",
        max_length=40,
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none"}),
        error_messages={"required": "Choose a name to log in with."},
    )


class OwnPasswordForm(PasswordForm):
    """The old password, and the new one twice."""

    field_order = ("old", "password", "again")
    old = forms.CharField(
        label="The password of now",
        strip=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        error_messages={"required": "Write your password of now."},
    )


class ProfileForm(forms.Form):
    """What a person is called, and where mail reaches them."""

    display_name = forms.CharField(label="Your name", max_length=150)
    email = forms.EmailField(label="E-mail address", required=False)


class DatesForm(forms.Form):
    """How a person reads dates."""

    date_style = forms.ChoiceField(label="Dates are written", choices=style_choices)
    time_zone = forms.CharField(
        label="Time zone",
        max_length=64,
        widget=forms.TextInput(attrs={"list": "time-zones", "autocomplete": "off"}),
        help_text="Write a part of its name, such as a city's.",
        error_messages={"required": "Choose a time zone, such as Europe/Berlin."},
    )
