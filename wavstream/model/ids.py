"""Identifiers: ours are random hex, those of the caller's switch are opaque strings."""

from __future__ import annotations

import re
import secrets

_CUSTOMER_ID = re.compile(r"[^\x00-\x1f\x7f]{1,256}")
_APP_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def new_id() -> str:
    """Return a fresh id of a recording or of a session's journal: 32 hex digits, safe in paths and URLs."""
    return secrets.token_hex(16)


def is_customer_id(text: str) -> bool:
    """Return whether text may name a session or a leg: 1..256 printable characters. Never use it as a file name."""
    return _CUSTOMER_ID.fullmatch(text) is not None and text.isprintable()


def is_app_id(text: str) -> bool:
    """Return whether text may name an app: 1..64 of letters, digits, ``_`` and ``-``."""
    return _APP_ID.fullmatch(text) is not None
