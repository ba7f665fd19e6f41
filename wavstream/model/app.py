"""A tenant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

DEFAULT_APP = "default"
"""The app of those who run wavstream for themselves."""


@dataclass(frozen=True, slots=True)
class App:
    """Who owns sessions and recordings. Its key is kept apart, hashed."""

    id: str
    created_at: datetime
    """Aware, UTC."""
    retention_hours: int | None = None
    """Hours that its recordings are kept; None: the server's setting."""
