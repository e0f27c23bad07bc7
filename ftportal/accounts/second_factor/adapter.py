"""What allauth asks of the portal: how secrets are kept, and what an app shows."""

import base64
import hashlib
from typing import Any

from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings
from django.utils.encoding import force_bytes

from ftportal.accounts.models import User
from ftportal.accounts.services import PersonError

_SALT = b"ftportal.second_factor:"  # so that the key is good for nothing else


class Adapter(DefaultMFAAdapter):
    """Secrets are encrypted with the portal's secret key: a copy of the database is not enough."""

    def get_totp_label(self, user: User) -> str:
        """What an app calls the entry."""
        return user.username

    def encrypt(self, text: str) -> str:
        """What the database keeps."""
        encrypted: bytes = _fernet().encrypt(text.encode())
        return encrypted.decode()

    def decrypt(self, encrypted_text: str) -> str:
        """What it stands for. Raises PersonError where the secret key has changed since."""
        from cryptography.fernet import InvalidToken

        try:
            text: bytes = _fernet().decrypt(encrypted_text.encode())
        except InvalidToken:
            raise PersonError(
                "The second factor cannot be read: the portal's secret key has changed since.",
                "Ask an administrator to reset it.",
            ) from None
        return text.decode()


def _fernet() -> Any:
    from cryptography.fernet import Fernet, MultiFernet  # 8 MB that most processes never need

    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    digests = [hashlib.sha256(_SALT + force_bytes(key)).digest() for key in keys]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(digest)) for digest in digests])
