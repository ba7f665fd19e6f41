"""The server's master secret, and the keys that are derived from it, one for each purpose."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path

from wavstream.errors import OperatorError
from wavstream.storage.secret_file import read_or_create

_LENGTH_BYTES = 32


def load_master_key(path: Path, given: str | None) -> bytes:
    """Return 32 bytes: from the setting where one is given, else from the file, which the first start makes.

    Whoever changes it makes every app key and stream token invalid. Raise OperatorError if the file cannot be used.
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
            "or remove it and give every app a new key with 'wavstream apps rotate-key'"
        )
    return master


def derive(master: bytes, purpose: str) -> bytes:
    """Return a key of 32 bytes for one purpose; it tells nothing of the master key or of other purposes."""
    return hmac.digest(master, purpose.encode(), hashlib.sha256)
