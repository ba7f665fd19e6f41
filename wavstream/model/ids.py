"""Identifiers: ours are random hex, those of the caller's switch are opaque strings."""

from __future__ import annotations

import re
import uuid

_CUSTOMER_ID = re.compile(r"[^\x00-\x1f\x7f]{1,256}")
_OUR_ID = re.compile(r"[0-9a-f]{32}")
_APP_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def new_id() -> str:
    """Return a fresh id of a recording or of a session's journal: 32 hex digits, safe in paths and URLs."""
    # Of the UUIDs' version 4, since clients of vendors may check that.
    return uuid.uuid4().hex


def is_customer_id(text: str) -> bool:
    """Return whether text may name a session or a leg: 1..256 printable characters. Never use it as a file name."""
    return _CUSTOMER_ID.fullmatch(text) is not None and text.isprintable()


def is_app_id(text: str) -> bool:
    """Return whether text may name an app: 1..64 of letters, digits, ``_`` and ``-``."""
    return _APP_ID.fullmatch(text) is not None


def as_uuid(our_id: str) -> str:
    """Return an id of ours as APIs show it whose ids are UUIDs: the same digits, with hyphens."""
    return str(uuid.UUID(hex=our_id))


def from_uuid(text: str) -> str:
    """Return the id of ours that a caller names, with or without hyphens; text that is none comes back unchanged."""
    digits = text.replace("-", "").lower()
    return digits if _OUR_ID.fullmatch(digits) is not None else text
