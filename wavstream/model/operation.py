"""A command to a session that was taken on, as the gateway's API knows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Command(StrEnum):
    """What may be commanded, in the gateway's words."""

    RECORD_START = "record/start"
    RECORD_STOP = "record/stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One command that was taken on. A command that was refused has none."""

    id: str
    app_id: str
    session_id: str
    command: Command
    command_uid: str
    """The caller's own id of the command, or one that we made; it names one command within a session."""
    recording_id: str
    at: datetime
    """Aware, UTC."""
