"""A recording as the columns of its row, and back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import RowMapping

from wavstream.catalog.tables import json_text
from wavstream.model.call import CallFacts
from wavstream.model.options import RecordingOptions
from wavstream.model.origin import Origin
from wavstream.model.recording import EndReason, LegalHold, Receipt, Recording, Status, StoredObject
from wavstream.model.times import unix_us, utc

_options: Any = msgspec.json.Decoder(RecordingOptions).decode
_receipt: Any = msgspec.json.Decoder(Receipt).decode
_hold: Any = msgspec.json.Decoder(LegalHold).decode
_vendor_ids: Any = msgspec.json.Decoder(dict[str, str]).decode
_origin: Any = msgspec.json.Decoder(Origin).decode
_stored: Any = msgspec.json.Decoder(StoredObject).decode


def _us(moment: datetime | None) -> int | None:
    return None if moment is None else unix_us(moment)


def _utc(moment_us: int | None) -> datetime | None:
    return None if moment_us is None else utc(moment_us)


def recording_row(recording: Recording) -> dict[str, object]:
    """Return the columns that a recording is."""
    return {
        "id": recording.id,
        "app_id": recording.app_id,
        "session_id": recording.session_id,
        "status": recording.status.value,
        "end_reason": None if recording.end_reason is None else recording.end_reason.value,
        "options_json": json_text(recording.options),
        "object_key": recording.object_key,
        "file_name": recording.file_name,
        "call_from": recording.call.from_,
        "call_to": recording.call.to,
        "call_direction": recording.call.direction,
        "vendor_ids_json": json_text(recording.call.vendor_ids),
        "created_us": unix_us(recording.created_at),
        "started_us": _us(recording.started_at),
        "ended_us": _us(recording.ended_at),
        "expires_us": _us(recording.expires_at),
        "receipt_json": None if recording.receipt is None else json_text(recording.receipt),
        "error": recording.error,
        "request_id": recording.request_id,
        "keepalive": recording.keepalive,
        "opened": recording.opened,
        "origin_json": json_text(recording.origin),
        "updated_us": _us(recording.updated_at),
        "skipped_us": recording.skipped_us,
        "kept_since_us": _us(recording.kept_since),
        "length_ms": None if recording.receipt is None else recording.receipt.duration_ms,
        "hold_json": None if recording.hold is None else json_text(recording.hold),
        "stored_json": None if recording.stored is None else json_text(recording.stored),
    }


def recording_of(row: RowMapping) -> Recording:
    """Return the recording that a row is."""
    return Recording(
        id=row["id"],
        app_id=row["app_id"],
        session_id=row["session_id"],
        status=Status(row["status"]),
        options=_options(row["options_json"]),
        object_key=row["object_key"],
        file_name=row["file_name"],
        created_at=utc(row["created_us"]),
        call=CallFacts(
            from_=row["call_from"],
            to=row["call_to"],
            direction=row["call_direction"],
            vendor_ids=_vendor_ids(row["vendor_ids_json"]),
        ),
        end_reason=None if row["end_reason"] is None else EndReason(row["end_reason"]),
        started_at=_utc(row["started_us"]),
        ended_at=_utc(row["ended_us"]),
        expires_at=_utc(row["expires_us"]),
        receipt=None if row["receipt_json"] is None else _receipt(row["receipt_json"]),
        error=row["error"],
        request_id=row["request_id"],
        keepalive=row["keepalive"],
        opened=row["opened"],
        origin=_origin(row["origin_json"]),
        updated_at=_utc(row["updated_us"]),
        skipped_us=row["skipped_us"],
        kept_since=_utc(row["kept_since_us"]),
        hold=None if row["hold_json"] is None else _hold(row["hold_json"]),
        stored=None if row["stored_json"] is None else _stored(row["stored_json"]),
    )
