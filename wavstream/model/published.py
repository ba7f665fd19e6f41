"""A recording as the world sees it: the JSON object of the API, which the sidecar beside a stored file repeats."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from wavstream.model.hold import LegalHold
from wavstream.model.recording import Integrity, Recording


def published(recording: Recording, *, url: str) -> dict[str, Any]:
    """The recording as values that JSON knows; ``url`` is the absolute address of its file.

    What only a finished file can tell (length, size, hash, legs) is null or empty until then.
    """
    options, receipt = recording.options, recording.receipt
    channels = receipt.channels if receipt else options.file_channels
    return {
        "id": recording.id,
        "session_id": recording.session_id,
        "app_id": recording.app_id,
        "status": recording.status.value,
        "end_reason": recording.end_reason.value if recording.end_reason else None,
        "error": recording.error,
        "format": options.format.value,
        "channels": "stereo" if channels == 2 else "mono",
        "track": options.track.value,
        "sample_rate": receipt.sample_rate if receipt else options.sample_rate,
        "pause_behavior": options.pause_behavior.value,
        "max_length_s": options.max_length_s,
        "initial_timeout_s": options.initial_timeout_s,
        "end_silence_timeout_s": options.end_silence_timeout_s,
        "sensitivity": options.sensitivity,
        "trim": options.trim.value,
        "beep": options.beep,
        "terminators": options.terminators,
        "duration_ms": receipt.duration_ms if receipt else None,
        "size_bytes": receipt.size_bytes if receipt else None,
        "audio_sha256": receipt.audio_sha256 if receipt else None,
        "file_name": recording.file_name,
        "client_state": options.client_state,
        "metadata": options.metadata,
        "retention_hours": options.retention_hours,
        "from": recording.call.from_,
        "to": recording.call.to,
        "direction": recording.call.direction,
        "vendor_ids": recording.call.vendor_ids,
        "created_at": rfc3339(recording.created_at),
        "started_at": rfc3339(recording.started_at),
        "ended_at": rfc3339(recording.ended_at),
        "expires_at": rfc3339(recording.expires_at),
        "hold": _hold(recording.hold),
        "url": url,
        "legs": msgspec.to_builtins(receipt.legs) if receipt else [],
        "integrity": msgspec.to_builtins(receipt.integrity if receipt else Integrity()),
    }


def _hold(hold: LegalHold | None) -> dict[str, Any] | None:
    return None if hold is None else {"by": hold.by, "reason": hold.reason, "since": rfc3339(hold.since)}


def rfc3339(moment: datetime | None) -> str | None:
    """An aware moment as RFC 3339 in UTC with ``Z``, to the microsecond; None stays None."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
