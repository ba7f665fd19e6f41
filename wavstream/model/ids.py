"""Identifiers: ours are random hex, those of the caller's switch are opaque strings."""

from __future__ import annotations

import hashlib
import re
import uuid

_CUSTOMER_ID = re.compile(r"[^\x00-\x1f\x7f]{1,256}")
_OUR_ID = re.compile(r"[0-9a-f]{32}")
# Within a longer run of digits too: a template may put an id and another name together.
_OUR_IDS = re.compile(r"(?=([0-9a-f]{32}))")
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


def session_alias(app_id: str, session_id: str) -> str:
    """Return what stands for a session's id where the id itself must not be kept: the same UUID each time."""
    return as_uuid(hashlib.sha256(f"{app_id}\x1f{session_id}".encode()).hexdigest()[:32])


def ids_in(text: str) -> list[str]:
    """Return what may be ids of ours in a text, such as an object key."""
    return _OUR_IDS.findall(text)


def as_uuid(our_id: str) -> str:
    """Return an id of ours as APIs show it whose ids are UUIDs: the same digits, with hyphens."""
    return str(uuid.UUID(hex=our_id))


def from_uuid(text: str) -> str:
    """Return the id of ours that a caller names, with or without hyphens; text that is none comes back unchanged."""
    digits = text.replace("-", "").lower()
    return digits if _OUR_ID.fullmatch(digits) is not None else text
