"""Signatures of the Standard Webhooks specification, version 1, by its own package; secrets, and their rotation.

A secret is ``whsec_`` and 24 to 64 bytes in base64. While one is replaced, messages carry a signature of the new one
and one of the one before, so that a receiver can change over at any moment of ``OVERLAP``.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from standardwebhooks import Webhook

from wavstream.model.app import SigningSecret

SECRET_PREFIX = "whsec_"
OVERLAP = timedelta(hours=24)
"""As long as a message is tried: one that was made before a rotation still arrives with a signature that is known."""
_MADE_BYTES = 32
_MIN_BYTES, _MAX_BYTES = 24, 64


def new_secret() -> str:
    """Return a fresh secret, as receivers paste it."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_MADE_BYTES)).decode()


def secret_key(secret: str) -> bytes:
    """Return the key that a secret stands for; raise ValueError with what is wrong, and without the secret."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or not _MIN_BYTES <= len(key) <= _MAX_BYTES:
        raise ValueError(f"must be {SECRET_PREFIX} and {_MIN_BYTES} to {_MAX_BYTES} bytes in base64")
    return key


def rotated(known: Sequence[SigningSecret], new: SigningSecret) -> tuple[SigningSecret, ...]:
    """Return what to keep when a secret is replaced: the new one and the newest before."""
    return (new, *known[:1])


def in_use(known: Sequence[SigningSecret], now: datetime) -> Sequence[SigningSecret]:
    """Return the secrets to sign with: the newest, and the one before while the newest is younger than ``OVERLAP``."""
    return known[:2] if known and now < known[0].made_at + OVERLAP else known[:1]


def signed_headers(message_id: str, body: bytes, keys: Iterable[bytes], now: datetime) -> dict[str, str]:
    """Return the three headers of a message; without keys only its id and time."""
    timestamp = str(int(now.timestamp()))
    headers = {"webhook-id": message_id, "webhook-timestamp": timestamp}
    at = now.astimezone(UTC)  # it takes the clock's reading for UTC, whatever its zone
    signatures = [Webhook(key).sign(message_id, at, body.decode()) for key in keys]
    if signatures:
        headers["webhook-signature"] = " ".join(signatures)
    return headers
