"""What is derived from the master key, and encrypted under it for its time in the catalog: secrets that we must use.

Keys are derived from the master secret, one for each purpose. Secrets are encrypted by AES-256-GCM, each for its owner:
text that is moved to another row does not open there.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

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


def derive(master: bytes, purpose: str) -> bytes:
    """Return a key of 32 bytes for one purpose; it tells nothing of the master key or of other purposes."""
    return hmac.digest(master, purpose.encode(), hashlib.sha256)
