"""Secrets that we must use ourselves, encrypted for their time in the catalog: AES-256-GCM under the master key.

Each is sealed for its owner: text that is moved to another row does not open there.
"""

from __future__ import annotations

import base64
import binascii
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from wavstream.access.master_key import derive
from wavstream.errors import OperatorError

_NONCE_BYTES = 12


class SecretBox:
    """Seals and opens secrets."""

    def __init__(self, master: bytes) -> None:
        self._cipher = AESGCM(derive(master, "seal"))

    def seal(self, secret: str, *, owner: str) -> str:
        """Return the secret as text for the catalog; ``owner`` is the id of its app."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, secret.encode(), owner.encode())).decode()

    def open(self, sealed: str, *, owner: str) -> str:
        """Return the secret; raise OperatorError if it was sealed under another master key or for another owner."""
        try:
            raw = base64.b64decode(sealed, validate=True)
            return self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], owner.encode()).decode()
        except (binascii.Error, ValueError, InvalidTag):
            raise OperatorError(
                f"a secret of app {owner} was sealed under another master key: restore that key, or replace the secret"
            ) from None
