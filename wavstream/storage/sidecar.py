"""The JSON sidecar beside a file: the document of the recording as it was at its end, and the way back from it.

Everything that the finished recording is can be had from it; a hold that came later is in the catalog alone. Of the
options, the rate and the layout are those of the file, and the asked-for name is part of ``file_name``: nothing that
is done with a finished recording asks for more. A field that it does not name is younger than the sidecar.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from wavstream.model.call import CallFacts
from wavstream.model.document import RecordingDocument, recording_document
from wavstream.model.options import RecordingOptions
from wavstream.model.origin import NATIVE, Origin
from wavstream.model.recording import Receipt, Recording, Status

_YOUNGER: dict[str, Any] = msgspec.to_builtins(RecordingOptions()) | {"error": None, "hold": None, "api": NATIVE}
"""What a field of a sidecar that does not name it says: an option was off, nobody held the recording."""


def write_sidecar(recording: Recording, *, url: str) -> bytes:
    """Return the sidecar of a finished recording, whose file has that address."""
    # With the generation of its app, which the document does not show: the row that is made of it is nobody else's.
    document = recording_document(recording, url=url).as_json() | {"app_id": recording.app_id}
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def told_of(row: Recording, content: bytes) -> Recording | None:
    """Return what became of a recording whose row does not know it, by a sidecar; None: that is not of this recording.

    What a sidecar does not tell is the row's: who asked for it, in which words, and who holds it.
    """
    try:
        told = read_sidecar(content, object_key=row.object_key)
    except ValueError:
        return None
    if (told.id, told.app_id) != (row.id, row.app_id):
        return None
    return replace(
        told,
        options=replace(told.options, file_name=row.options.file_name),
        hold=row.hold or told.hold,
        request_id=row.request_id,
        keepalive=row.keepalive,
        opened=row.opened,
        origin=row.origin,
    )


def read_sidecar(content: bytes, *, object_key: str) -> Recording:
    """Return the recording whose file lies at ``object_key``; raise ValueError if this is not a sidecar of ours."""
    facts = _YOUNGER | msgspec.json.decode(content, type=dict[str, Any])
    facts.setdefault("updated_at", facts.get("ended_at"))
    said = RecordingDocument.model_validate_json(msgspec.json.encode(facts), strict=True, extra="ignore")
    if (
        said.status is not Status.AVAILABLE
        or said.end_reason is None
        or said.started_at is None
        or said.ended_at is None
        or said.sample_rate is None
        or said.size_bytes is None
        or said.audio_sha256 is None
    ):
        raise ValueError("this is not the sidecar of a finished recording")
    channels = 2 if said.channels == "stereo" else 1
    return Recording(
        id=said.id,
        app_id=said.app_id,
        session_id=said.session_id,
        status=said.status,
        options=replace(msgspec.convert(facts, RecordingOptions), file_name=None),
        object_key=object_key,
        file_name=said.file_name,
        created_at=said.created_at,
        call=CallFacts(said.from_, said.to, said.direction, said.vendor_ids),
        end_reason=said.end_reason,
        started_at=said.started_at,
        ended_at=said.ended_at,
        expires_at=said.expires_at,
        hold=said.hold,
        origin=Origin(api=said.api),
        updated_at=said.updated_at,
        receipt=Receipt(
            sample_rate=said.sample_rate,
            channels=channels,
            samples=said.integrity.samples // channels,
            audio_sha256=said.audio_sha256,
            size_bytes=said.size_bytes,
            legs=said.legs,
            integrity=said.integrity,
        ),
    )
