"""A legal hold: what keeps a recording from being deleted, whatever retention or its owner say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class LegalHold:
    """Who wants the recording kept, and why."""

    by: str
    reason: str
    since: datetime
    """Aware, UTC."""
