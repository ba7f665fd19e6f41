"""A command to a session that an API has taken on under an id of its caller's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One command that was taken on. A command that was refused has none."""

    id: str
    app_id: str
    session_id: str
    command: str
    """What was commanded, in the words of the API that took it on."""
    request_id: str
    """The caller's own id of the command, or one that we made; it names one command within a session."""
    recording_id: str
    at: datetime
    """Aware, UTC."""
