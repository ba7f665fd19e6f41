"""The section ``webhooks`` of the OpenAPI document: what an app is told at its URL, in the gateway's words.

For the document alone; what is sent is made in ``webhooks.gateway``, and a test holds the two together.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from fastapi import Header
from pydantic import ConfigDict

from wavstream.api.routes import Router
from wavstream.model.document import Document

_SESSION_ID, _RECORDING_ID, _COMMAND_UID = "call-77", "0d6c8d5f6f0b4b0a9c2f5b0a7c1e9d42", "rec-1"


def _example(event: str, sequence: int, **fields: Any) -> ConfigDict:
    """Return the configuration of a message that has this example."""
    told = {"event": event, "session_uuid": _SESSION_ID, **fields, "sequence": sequence, "data": fields}
    return ConfigDict(json_schema_extra={"examples": [told]})


class Message(Document):
    """What every message has; the fields of its event are there too, and again in `data`."""

    session_uuid: str
    """The id of the session, as your switch knows it."""
    sequence: int
    """Its place among all that the app is told of the session, from 1 and without gaps."""


class OfRecording(Document):
    """What is told of a recording."""

    recording_id: str
    """Its id at `/v1/recordings`."""
    command_uid: str | None
    """Of the command that started it; null: it had none."""


class Finished(OfRecording):
    """What is told of a file that can be fetched."""

    recording_url: str
    duration: int
    """Seconds, rounded half up."""


class Stored(OfRecording):
    """What is told of a file that lies in a store."""

    recording_url: str
    store: str
    """The store, as `storage.url` or `storage.backup_url` has it."""
    key: str
    """Where in it."""
    size_bytes: int
    audio_sha256: str
    """Of the bytes after the file's header, hex."""


class Said(Document):
    """What is told of a transcript; all of it is at `/v1/recordings/{id}/transcript`."""

    id: str
    language: str
    engine: str
    words: int
    """How many."""
    speech_ms: int
    """Milliseconds of speech, of all channels together."""
    text: str
    """A line for each stretch of speech, in the order of the call; of a long one the first 100,000 characters."""


class Transcribed(OfRecording):
    """What is told of a recording that has a transcript."""

    transcription: Said


class Unheard(Document):
    """A transcription that failed."""

    id: str
    language: str | None
    engine: str


class NotTranscribed(OfRecording):
    """What is told of a recording of which there will be no transcript."""

    error: str
    """Why, for a person."""
    transcription: Unheard


class Failed(OfRecording):
    """What is told of a recording that has no file."""

    error: str
    """Why, for a person."""


class Done(Document):
    """What is told of a command."""

    command_uid: str
    command: str
    success: bool
    error: str | None = None
    """Why it failed; left out where it did not."""


class RecordingStarted(OfRecording, Message):
    """A recording has begun."""

    model_config = _example("recording.started", 1, command_uid=_COMMAND_UID, recording_id=_RECORDING_ID)

    event: Literal["recording.started"]
    data: OfRecording


class RecordingCompleted(Finished, Message):
    """The file can be fetched."""

    model_config = _example(
        "recording.completed",
        2,
        recording_url="https://rec.example.com/files/0d6c.wav",
        duration=62,
        command_uid=_COMMAND_UID,
        recording_id=_RECORDING_ID,
    )

    event: Literal["recording.completed"]
    data: Finished


class RecordingStored(Stored, Message):
    """The file lies in the store; told to apps that name this event."""

    model_config = _example(
        "recording.stored",
        3,
        recording_url="https://rec.example.com/files/0d6c.wav",
        store="s3://calls/2026",
        key="shop/2026-11-01/0d6c8d5f.wav",
        size_bytes=992_080,
        audio_sha256="9f" * 32,
        command_uid=_COMMAND_UID,
        recording_id=_RECORDING_ID,
    )

    event: Literal["recording.stored"]
    data: Stored


class RecordingTranscribed(Transcribed, Message):
    """There is a transcript; told to apps that name this event."""

    model_config = _example(
        "recording.transcribed",
        4,
        transcription={
            "id": "5b0a7c1e9d420d6c8d5f6f0b4b0a9c2f",
            "language": "en-US",
            "engine": "pocketsphinx",
            "words": 4,
            "speech_ms": 1_840,
            "text": "good morning\nhello there",
        },
        command_uid=_COMMAND_UID,
        recording_id=_RECORDING_ID,
    )

    event: Literal["recording.transcribed"]
    data: Transcribed


class RecordingTranscriptionFailed(NotTranscribed, Message):
    """There is no transcript, and none will be made unless it is asked for again; told to apps that name this event."""

    model_config = _example(
        "recording.transcription_failed",
        4,
        error="pocketsphinx has English alone, and this is de-DE",
        transcription={"id": "5b0a7c1e9d420d6c8d5f6f0b4b0a9c2f", "language": "de-DE", "engine": "pocketsphinx"},
        command_uid=_COMMAND_UID,
        recording_id=_RECORDING_ID,
    )

    event: Literal["recording.transcription_failed"]
    data: NotTranscribed


class RecordingFailed(Failed, Message):
    """A recording ended without a file, also one in which no audio arrived."""

    model_config = _example(
        "recording.failed", 2, error="no audio was received", command_uid=_COMMAND_UID, recording_id=_RECORDING_ID
    )

    event: Literal["recording.failed"]
    data: Failed


class CommandResult(Done, Message):
    """A command was carried out, or was not."""

    model_config = _example("command.result", 1, command_uid=_COMMAND_UID, command="record/start", success=True)

    event: Literal["command.result"]
    data: Done


_Id = Annotated[str, Header(alias="webhook-id", description="The same at each try: keep it, and ignore what you know.")]
_Time = Annotated[int, Header(alias="webhook-timestamp", description="Unix seconds of this try.")]
_Signature = Annotated[
    str | None,
    Header(alias="webhook-signature", description="As Standard Webhooks has it; without a secret there is none."),
]


def told() -> Router:
    """Return what an app is told, as routes of its own server."""
    router = Router()
    taken: dict[str, Any] = {"methods": ["POST"], "tags": ["webhooks"], "response_description": "Taken, as any 2xx is"}

    # A function for each: the framework reads what a body is from a signature.
    async def started(_body: RecordingStarted, _id: _Id, _at: _Time, _signature: _Signature = None) -> None: ...

    async def completed(_body: RecordingCompleted, _id: _Id, _at: _Time, _signature: _Signature = None) -> None: ...

    async def stored(_body: RecordingStored, _id: _Id, _at: _Time, _signature: _Signature = None) -> None: ...

    async def transcribed(_body: RecordingTranscribed, _id: _Id, _at: _Time, _signature: _Signature = None) -> None: ...

    async def not_transcribed(
        _body: RecordingTranscriptionFailed, _id: _Id, _at: _Time, _signature: _Signature = None
    ) -> None: ...

    async def failed(_body: RecordingFailed, _id: _Id, _at: _Time, _signature: _Signature = None) -> None: ...

    async def result(_body: CommandResult, _id: _Id, _at: _Time, _signature: _Signature = None) -> None: ...

    for event, endpoint, summary in (
        ("recording.started", started, "A recording has begun"),
        ("recording.completed", completed, "A file can be fetched"),
        ("recording.stored", stored, "A file lies in the store"),
        ("recording.transcribed", transcribed, "There is a transcript"),
        ("recording.transcription_failed", not_transcribed, "There will be no transcript"),
        ("recording.failed", failed, "A recording ended without a file"),
        ("command.result", result, "A command was carried out, or was not"),
    ):
        name = "".join(part.capitalize() for part in re.split("[._]", event))
        about = "Tried again for 24 hours until it is answered with a status from 200 to 299."
        router.add_api_route(event, endpoint, operation_id=f"told{name}", summary=summary, description=about, **taken)
    return router
