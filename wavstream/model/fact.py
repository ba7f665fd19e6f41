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
from wavstream.model.ids import session_alias
from wavstream.model.origin import GATEWAY, NATIVE
from wavstream.model.recording import Recording, Status
from wavstream.model.times import unix_us

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
    RECORDING_PAUSED = "recording_paused"
    RECORDING_RESUMED = "recording_resumed"
    RECORDING_STORED = "recording_stored"
    """Its file lies in a store beyond this machine."""
    RECORDING_TRANSCRIBED = "recording_transcribed"
    """Its transcript can be read; the body has it as ``transcription``."""
    RECORDING_NOT_TRANSCRIBED = "recording_not_transcribed"
    """There is no transcript of it and will be none; the body says why in ``transcription``."""


_KIND = {
    Status.ONGOING: FactKind.RECORDING_STARTED,
    Status.AVAILABLE: FactKind.RECORDING_FINISHED,
    Status.ABSENT: FactKind.RECORDING_ABSENT,
    Status.FAILED: FactKind.RECORDING_FAILED,
}
ANNOUNCED = frozenset({*_KIND, Status.PAUSED})
"""The states of a recording that are a fact of their own."""
_IN_ONE_LINE = frozenset({NATIVE, GATEWAY})
"""APIs that number the facts of a session; a receiver has each after the one before."""


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
    api: str = GATEWAY
    """In whose words it is told: ``native`` is in those of the app's target."""
    url: str | None = None
    """Where it is told, in place of the app's target."""

    @property
    def line(self) -> str:
        """The facts of an app with the same text wait behind each other.

        The gateway's do in a session. Those of other APIs do only where they are of one recording: a receiver that
        takes nothing must not hold up what another is told.
        """
        if self.api in _IN_ONE_LINE:
            # Lines are numbered for longer than recordings may be kept, so they do not have the session's own id.
            return session_alias(self.app_id, self.session_id)
        return f"{self.api}\x1f{self.recording_id}"


TRIES_KEPT = 20


@dataclass(frozen=True, slots=True)
class Try:
    """One try to tell a fact."""

    at: datetime
    """When it ended; aware, UTC."""
    url: str
    error: str | None
    """Why it failed; None: the receiver took it."""


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
    tries: tuple[Try, ...] = ()
    """The newest that there were, at most ``TRIES_KEPT``, the oldest first."""


def command_done(
    *, app_id: str, session_id: str, operation_id: str, command: str, request_id: str, error: str | None, at: datetime
) -> Fact:
    """Return the outcome of one command; ``operation_id`` is the command's own, ``error`` why it failed if it did."""
    return Fact(
        id=command_done_id(operation_id),
        app_id=app_id,
        session_id=session_id,
        kind=FactKind.COMMAND_DONE,
        at=at,
        body={"command": command, "request_id": request_id, "success": error is None, "error": error},
    )


def command_done_id(operation_id: str) -> str:
    """Return the id of the fact that a command is done."""
    return _id(FactKind.COMMAND_DONE, operation_id)


def recording_fact(recording: Recording, *, url: str, at: datetime) -> Fact:
    """Return the fact that a recording has the status that it has. It is told once for each time that it gets there.

    ``url`` is the absolute address of its file.
    """
    kind, subject = _KIND.get(recording.status, FactKind.RECORDING_PAUSED), recording.id
    if recording.status is Status.ONGOING and recording.updated_at not in (None, recording.started_at):
        kind = FactKind.RECORDING_RESUMED
    if kind in (FactKind.RECORDING_PAUSED, FactKind.RECORDING_RESUMED):
        subject += f":{unix_us(recording.changed_at)}"
    origin = recording.origin
    return Fact(
        id=_id(kind, subject),
        app_id=recording.app_id,
        session_id=recording.session_id,
        kind=kind,
        at=at,
        recording_id=recording.id,
        body={
            "recording": recording_document(recording, url=url).as_json(),
            "request_id": recording.request_id,
            "origin": {"command": origin.command, "control_id": origin.control_id, "said": origin.said},
        },
        api=origin.api,
        url=origin.status_url,
    )


def stored_fact(recording: Recording, *, url: str, at: datetime) -> Fact:
    """Return the fact that a recording's file lies in the store that its ``stored`` names; it has no URL of its own.

    ``url`` is the absolute address of its file.
    """
    stored = recording.stored
    assert stored is not None
    return Fact(
        id=_id(FactKind.RECORDING_STORED, f"{recording.id}:{stored.url}"),
        app_id=recording.app_id,
        session_id=recording.session_id,
        kind=FactKind.RECORDING_STORED,
        at=at,
        recording_id=recording.id,
        body={
            "recording": recording_document(recording, url=url).as_json(),
            "request_id": recording.request_id,
            "stored": {"store": stored.url, "key": recording.object_key},
        },
        api=recording.origin.api,
    )


def transcribed_fact(recording: Recording, transcription: dict[str, Any], *, url: str, at: datetime) -> Fact:
    """Return the fact that a recording was transcribed: ``transcription`` says how, with its ``id`` and ``text``.

    One that failed has an ``error`` there in place of the text. ``url`` is the absolute address of the recording's
    file. It is told where all of the recording is told.
    """
    origin = recording.origin
    kind = FactKind.RECORDING_NOT_TRANSCRIBED if "error" in transcription else FactKind.RECORDING_TRANSCRIBED
    return Fact(
        id=_id(kind, f"{recording.id}:{transcription['id']}"),
        app_id=recording.app_id,
        session_id=recording.session_id,
        kind=kind,
        at=at,
        recording_id=recording.id,
        body={
            "recording": recording_document(recording, url=url).as_json(),
            "request_id": recording.request_id,
            "origin": {"command": origin.command, "control_id": origin.control_id, "said": origin.said},
            "transcription": transcription,
        },
        api=origin.api,
        url=origin.status_url,
    )


def _id(kind: FactKind, subject: str) -> str:
    return uuid.uuid5(_NAMESPACE, f"{kind}:{subject}").hex
