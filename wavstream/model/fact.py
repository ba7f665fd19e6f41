"""Facts to announce: what happened, in nobody's format yet.

A fact is written to the catalog's outbox in the transaction of the change that it announces, and becomes a vendor's
message each time that its delivery is tried. Its id is made of what it tells: whoever tells the same thing again, after
a crash say, makes the same fact, and it is announced once.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from wavstream.model.document import recording_document
from wavstream.model.recording import Recording, Status

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "wavstream:facts")


class FactKind(StrEnum):
    """What sort of thing happened."""

    COMMAND_DONE = "command_done"
    """A command to a session has succeeded or failed."""
    RECORDING_STARTED = "recording_started"
    RECORDING_FINISHED = "recording_finished"
    """Its file can be fetched."""
    RECORDING_ABSENT = "recording_absent"
    """It ended without audio: there is no file."""
    RECORDING_FAILED = "recording_failed"


DEFAULT_KINDS = frozenset({FactKind.COMMAND_DONE, FactKind.RECORDING_FINISHED})
"""What an app is told that did not choose."""

_KIND = {
    Status.ONGOING: FactKind.RECORDING_STARTED,
    Status.AVAILABLE: FactKind.RECORDING_FINISHED,
    Status.ABSENT: FactKind.RECORDING_ABSENT,
    Status.FAILED: FactKind.RECORDING_FAILED,
}
ANNOUNCED = frozenset(_KIND)
"""The states of a recording that are a fact of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing that happened to a session of an app."""

    id: str
    """32 hex digits; receivers see it as the id of the message, the same at every try."""
    app_id: str
    session_id: str
    kind: FactKind
    at: datetime
    """When it could be told first; aware, UTC."""
    recording_id: str | None = None
    body: dict[str, Any] = field(default_factory=dict)
    """What the vendors' messages are made of, as values that JSON knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A fact on its way to its app."""

    fact: Fact
    sequence: int
    """Its place among all that the app is told of the session, from 1; never given twice."""
    attempts: int
    """Tries that failed, since ``begun_at``."""
    begun_at: datetime
    """When the time to try began: when the fact was told, or its replay asked for; aware, UTC."""
    error: str | None
    """Why the last try failed, for a person."""
    died_at: datetime | None = None
    """When it was given up; None: it was not. Aware, UTC."""


def command_done(
    *, app_id: str, session_id: str, operation_id: str, command: str, request_id: str, error: str | None, at: datetime
) -> Fact:
    """Return the outcome of one command; ``operation_id`` is the command's own, ``error`` why it failed if it did."""
    return Fact(
        id=_id(FactKind.COMMAND_DONE, operation_id),
        app_id=app_id,
        session_id=session_id,
        kind=FactKind.COMMAND_DONE,
        at=at,
        body={"command": command, "request_id": request_id, "success": error is None, "error": error},
    )


def recording_fact(recording: Recording, *, url: str, at: datetime) -> Fact:
    """Return the fact that a recording is ongoing, available, absent or failed: one for each of them in its life.

    ``url`` is the absolute address of its file.
    """
    kind = _KIND[recording.status]
    return Fact(
        id=_id(kind, recording.id),
        app_id=recording.app_id,
        session_id=recording.session_id,
        kind=kind,
        at=at,
        recording_id=recording.id,
        body={"recording": recording_document(recording, url=url).as_json(), "request_id": recording.request_id},
    )


def _id(kind: FactKind, subject: str) -> str:
    return uuid.uuid5(_NAMESPACE, f"{kind}:{subject}").hex
