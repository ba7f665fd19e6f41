"""The server's master secret, and what is encrypted under it for its time in the catalog: secrets that we must use.

Keys are derived from the master secret, one for each purpose. Secrets are encrypted by AES-256-GCM, each for its owner:
text that is moved to another row does not open there.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from wavstream.errors import OperatorError
from wavstream.storage.secret_file import read_or_create

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


_LENGTH_BYTES = 32


def load_master_key(path: Path, given: str | None) -> bytes:
    """Return 32 bytes: from the setting where one is given, else from the file, which the first start makes.

    Whoever changes it makes every app key, every stream token and every sealed webhook secret invalid. Raise
    OperatorError if the file cannot be used.
    """
    if given is not None:
        return hashlib.sha256(given.encode()).digest()
    content = read_or_create(path, secrets.token_hex(_LENGTH_BYTES).encode())
    try:
        master = bytes.fromhex(content.decode("ascii").strip())
    except ValueError:
        master = b""
    if len(master) != _LENGTH_BYTES:
        raise OperatorError(
            f"{path} is not a master key of {_LENGTH_BYTES * 2} hex digits: restore it, "
            "or remove it and give every app a new key and webhook secret, the key with 'wavstream apps rotate-key'"
        )
    return master


def derive(master: bytes, purpose: str) -> bytes:
    """Return a key of 32 bytes for one purpose; it tells nothing of the master key or of other purposes."""
    return hmac.digest(master, purpose.encode(), hashlib.sha256)
