"""The JSON sidecar beside a file: the recording as it was at its end, and read back from it.

Everything that the finished recording is can be had from it; a hold that came later is in the catalog alone. Of the
options, the rate and the layout are those of the file, and the asked-for name is part of ``file_name``: nothing that
is done with a finished recording asks for more. An option that it does not name is younger than the sidecar, and was
off.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from wavstream.model.call import CallFacts
from wavstream.model.hold import LegalHold
from wavstream.model.options import (
    DEFAULT_SENSITIVITY,
    ChannelLayout,
    FileFormat,
    PauseBehavior,
    RecordingOptions,
    TrackChoice,
    Trim,
)
from wavstream.model.published import published
from wavstream.model.recording import EndReason, Integrity, LegReceipt, Receipt, Recording, Status


class _Sidecar(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    session_id: str
    app_id: str
    status: Literal["available"]
    end_reason: EndReason
    format: FileFormat
    channels: ChannelLayout
    track: TrackChoice
    sample_rate: int
    pause_behavior: PauseBehavior
    max_length_s: int = 0
    initial_timeout_s: float = 0.0
    end_silence_timeout_s: float = 0.0
    sensitivity: float = DEFAULT_SENSITIVITY
    trim: Trim = Trim.NONE
    beep: bool = False
    terminators: str = ""
    size_bytes: int
    audio_sha256: str
    file_name: str
    client_state: str | None
    metadata: dict[str, str]
    retention_hours: int | None
    from_: str = msgspec.field(name="from")
    to: str
    direction: str
    vendor_ids: dict[str, str]
    created_at: datetime
    started_at: datetime
    ended_at: datetime
    expires_at: datetime | None
    hold: LegalHold | None = None
    legs: tuple[LegReceipt, ...]
    integrity: Integrity


_decode: Any = msgspec.json.Decoder(_Sidecar).decode


def write_sidecar(recording: Recording, *, url: str) -> bytes:
    """The sidecar of a finished recording, whose file has that address."""
    return msgspec.json.format(msgspec.json.encode(published(recording, url=url)), indent=2) + b"\n"


def read_sidecar(content: bytes, *, object_key: str) -> Recording:
    """The recording whose file lies at ``object_key``; raises ValueError if this is not a sidecar of ours."""
    facts: _Sidecar = _decode(content)
    channels = 2 if facts.channels is ChannelLayout.STEREO else 1
    return Recording(
        id=facts.id,
        app_id=facts.app_id,
        session_id=facts.session_id,
        status=Status.AVAILABLE,
        options=RecordingOptions(
            format=facts.format,
            channels=facts.channels,
            track=facts.track,
            sample_rate=facts.sample_rate,
            pause_behavior=facts.pause_behavior,
            max_length_s=facts.max_length_s,
            initial_timeout_s=facts.initial_timeout_s,
            end_silence_timeout_s=facts.end_silence_timeout_s,
            sensitivity=facts.sensitivity,
            trim=facts.trim,
            beep=facts.beep,
            terminators=facts.terminators,
            client_state=facts.client_state,
            metadata=facts.metadata,
            retention_hours=facts.retention_hours,
        ),
        object_key=object_key,
        file_name=facts.file_name,
        created_at=facts.created_at,
        call=CallFacts(facts.from_, facts.to, facts.direction, facts.vendor_ids),
        end_reason=facts.end_reason,
        started_at=facts.started_at,
        ended_at=facts.ended_at,
        expires_at=facts.expires_at,
        hold=facts.hold,
        receipt=Receipt(
            sample_rate=facts.sample_rate,
            channels=channels,
            samples=facts.integrity.samples // channels,
            audio_sha256=facts.audio_sha256,
            size_bytes=facts.size_bytes,
            legs=facts.legs,
            integrity=facts.integrity,
        ),
    )
