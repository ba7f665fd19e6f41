"""The document of a recording: the one JSON object in which it is shown.

The API answers it, a webhook's data are made of it, and the sidecar beside a stored file is one, from which the row can
be made again. The OpenAPI document describes it from the same class.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from wavstream.model.app import app_name
from wavstream.model.options import with_options
from wavstream.model.recording import EndReason, Integrity, LegalHold, LegReceipt, Recording, Status
from wavstream.model.times import Moment


class Document(BaseModel):
    """A JSON object that the server sends."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, use_attribute_docstrings=True)

    def as_json(self) -> dict[str, Any]:
        """Return it as values that JSON knows."""
        return self.model_dump(mode="json", by_alias=True)

    def as_text(self) -> str:
        """Return it as JSON: half the work where nothing else is made of it."""
        return self.model_dump_json(by_alias=True)


@with_options(required=True)
class RecordingDocument(Document):
    """One recording of a session, from its start to its stop."""

    # The options stand here for their place among the other fields, and with what is told of them once it runs. One
    # that does not is added at the end.
    id: str
    session_id: str
    app_id: str
    status: Status
    """accepted, ongoing, paused, completed (the file is being finished), available, absent (no audio), failed, expired
    or deleted."""
    end_reason: EndReason | None
    error: str | None
    """Why it failed, or what it waited for in vain, for a person."""
    format: Literal["wav", "mp3"]
    channels: Literal["mono", "stereo"]
    """Of the file."""
    track: Literal["both", "inbound", "outbound"]
    sample_rate: int | None
    """Hertz, of the file once it is finished, until then as asked for; null: not known before the first audio."""
    pause_behavior: Literal["skip", "silence"]
    max_length_s: int | float
    """Recorded seconds, like the two below; 0: no limit."""
    initial_timeout_s: float
    """0: it does not end because nobody speaks."""
    end_silence_timeout_s: float
    """0: it does not end because nobody speaks any more."""
    sensitivity: float
    trim: Literal["none", "silence"]
    beep: bool
    terminators: str
    """DTMF digits, each of which ends it; empty: none does."""
    transcription: bool
    transcription_language: str | None
    duration_ms: int | None
    """Null, like size and hash, until the file is finished."""
    size_bytes: int | None
    audio_sha256: str | None
    """Of the bytes after the file's header (MP3: its first frame), hex; also the file's `ETag`."""
    file_name: str
    client_state: str | None
    metadata: dict[str, str]
    retention_hours: int | None
    from_: Annotated[str, Field(alias="from")]
    """The calling party, as the switch writes it; empty where it said nothing, as are the next three."""
    to: str
    direction: str
    vendor_ids: dict[str, str]
    api: str
    """Whose words it was asked for in: native, gateway, telnyx, bird or signalwire."""
    created_at: Moment
    updated_at: Moment
    """When its status changed last; a file is made at the stop."""
    started_at: Moment | None
    """When the session streamed, at the earliest when the recording was created."""
    ended_at: Moment | None
    expires_at: Moment | None
    """When the file goes; counted from the stop, never extended; null: not before it is erased."""
    hold: LegalHold | None
    """Null: nobody holds it; else it neither expires nor can it be erased."""
    url: str
    """Address of the file, the same from the start on; opens it without a key while the recording is available."""
    legs: tuple[LegReceipt, ...]
    integrity: Integrity


def recording_document(recording: Recording, *, url: str) -> RecordingDocument:
    """Return the document of a recording whose file has that absolute address.

    What only a finished file can tell (length, size, hash, legs) is null or empty until then.
    """
    receipt, call = recording.receipt, recording.call
    facts: dict[str, Any] = msgspec.to_builtins(recording.options)
    facts |= {
        "id": recording.id,
        "session_id": recording.session_id,
        "app_id": app_name(recording.app_id),
        "status": recording.status,
        "end_reason": recording.end_reason,
        "error": recording.error,
        "channels": "stereo" if (receipt.channels if receipt else recording.options.file_channels) == 2 else "mono",
        "file_name": recording.file_name,
        "from": call.from_,
        "to": call.to,
        "direction": call.direction,
        "vendor_ids": call.vendor_ids,
        "api": recording.origin.api,
        "created_at": recording.created_at,
        "updated_at": recording.changed_at,
        "started_at": recording.started_at,
        "ended_at": recording.ended_at,
        "expires_at": recording.expires_at,
        "hold": recording.hold,
        "url": url,
        "duration_ms": None,
        "size_bytes": None,
        "audio_sha256": None,
        "legs": (),
        "integrity": Integrity(),
    }
    if receipt is not None:
        facts |= {
            "sample_rate": receipt.sample_rate,
            "duration_ms": receipt.duration_ms,
            "size_bytes": receipt.size_bytes,
            "audio_sha256": receipt.audio_sha256,
            "legs": receipt.legs,
            "integrity": receipt.integrity,
        }
    return RecordingDocument(**facts)
