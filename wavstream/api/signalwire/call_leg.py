"""The answer to a command: the leg of the call that it was sent to, as far as a recorder knows a call."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from wavstream.model.call import CallFacts
from wavstream.model.document import Document
from wavstream.model.recording import Recording
from wavstream.model.session import SessionView
from wavstream.model.times import Moment

LegType = Literal["pstn", "sip"]
_MILLISECOND = timedelta(milliseconds=1)


class CallLeg(Document):
    """The leg of the call that a command was sent to."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "3fa85f64-5717-4562-b3fc-2c963f66afa6",
                    "from": "+15550100",
                    "to": "+15550199",
                    "direction": "inbound",
                    "status": "answered",
                    "duration": 12,
                    "duration_ms": 12340,
                    "billing_ms": 0,
                    "source": "realtime_api",
                    "type": "relay_pstn_call",
                    "url": None,
                    "charge": 0.0,
                    "charge_details": [],
                    "parent_id": None,
                    "created_at": "2026-11-01T10:00:00.000000Z",
                    "control_id": "rec-1",
                }
            ]
        }
    )

    id: str
    from_: Annotated[str, Field(alias="from")]
    """The calling party, as the switch writes it; empty where it said nothing, as is the next."""
    to: str
    direction: Literal["inbound", "outbound"] | None
    """Null: the switch said nothing."""
    status: Literal["created", "answered", "ended"]
    """created: announced, or waited for; answered: it streams; ended: it does not any more."""
    duration: int | None
    """Seconds that it has streamed; null: it does not stream."""
    duration_ms: int | None
    billing_ms: int = 0
    """Nothing is billed here."""
    source: Literal["realtime_api"] = "realtime_api"
    type: Literal["relay_pstn_call", "relay_sip_call"]
    """relay_sip_call where a party is a SIP address."""
    url: None = None
    charge: float = 0.0
    charge_details: tuple[str, ...] = ()
    parent_id: None = None
    created_at: Moment
    """When it was announced, or its first stream opened."""
    control_id: str | None
    """The handle of the recording that the command was about. SignalWire's own answer has none."""


def call_leg(recording: Recording, view: SessionView | None, now: datetime) -> CallLeg:
    """Return the leg of the call that a recording is of; ``view`` is the live session, None: it has ended."""
    joined = min((stream.joined_at for stream in view.streams), default=None) if view is not None else None
    duration_ms = None if joined is None else max((now - joined) // _MILLISECOND, 0)
    call = recording.call if view is None else CallFacts(view.from_, view.to, view.direction, view.vendor_ids)
    status: Literal["created", "answered", "ended"] = "answered" if joined is not None else "created"
    return CallLeg(
        id=recording.session_id,
        from_=call.from_,
        to=call.to,
        direction=_direction(call),
        status="ended" if view is None else status,
        duration=None if duration_ms is None else duration_ms // 1000,
        duration_ms=duration_ms,
        type="relay_sip_call" if leg_type(call) == "sip" else "relay_pstn_call",
        created_at=recording.created_at if view is None else view.created_at,
        control_id=recording.origin.control_id,
    )


def leg_type(call: CallFacts) -> LegType:
    """Return what SignalWire calls such a leg: a recorder sees only how the parties are written."""
    is_sip = any("@" in party or party.lower().startswith(("sip:", "sips:")) for party in (call.from_, call.to))
    return "sip" if is_sip else "pstn"


def _direction(call: CallFacts) -> Literal["inbound", "outbound"] | None:
    match call.direction:
        case "inbound" | "outbound" as direction:
            return direction
    return None
