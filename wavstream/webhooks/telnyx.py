"""Facts as webhooks of Telnyx: ``call.recording.saved``, ``.error`` and ``.transcription.saved``, signed with Ed25519.

1. The links in ``recording_urls`` are made for each try and live ten minutes from then, as the vendor says of them.
   Those in ``public_recording_urls`` live as long as the file, and are there only where the server was set so when the
   recording was started.
2. What the media server did not tell of the call has a value all the same, since applications look calls up by it: a
   leg and a session are called as the call is, and the application as our app.
3. ``call.recording.error`` has a ``reason``, of which the vendor's client knows four: an event with another reason it
   does not take for this one at all. The only one of these that can be ours is said of every recording without a file;
   some of the vendor's pages have a ``result`` in its place, and there it is said that no audio was received.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wavstream.model.app import app_name
from wavstream.model.fact import Fact, FactKind
from wavstream.model.ids import as_uuid
from wavstream.model.times import rfc3339
from wavstream.webhooks.vocabulary import Keys, Occasion, Retries, Vocabulary

EVENTS: Mapping[FactKind, str] = {
    FactKind.RECORDING_FINISHED: "call.recording.saved",
    # ``call.recording.saved`` would promise a file.
    FactKind.RECORDING_ABSENT: "call.recording.error",
    FactKind.RECORDING_FAILED: "call.recording.error",
    FactKind.RECORDING_TRANSCRIBED: "call.recording.transcription.saved",
}
ERROR = "Internal server error"
NO_AUDIO = "No audio was received"
LINK_TTL_S = 600
PUBLIC_LINKS = "public_links"
"""Among what a recording's origin has said: whether its webhooks carry the address that lives as long as the file."""

FileUrl = Callable[[Mapping[str, Any], str, int], str]
"""From the document of a recording, a file format and seconds: a link that opens the file so long."""


def render(fact: Fact, occasion: Occasion) -> bytes:
    """Return the body of the webhook."""
    meta = {"attempt": occasion.attempt, "delivered_to": occasion.url}
    return msgspec.json.encode({"data": event(fact, occasion.file_url), "meta": meta})


def event(fact: Fact, file_url: FileUrl) -> dict[str, Any]:
    """Return the event that a fact is, with links to its file."""
    return {
        "record_type": "event",
        "event_type": EVENTS[fact.kind],
        "id": as_uuid(fact.id),
        "occurred_at": rfc3339(fact.at),
        "payload": _payload(fact, file_url),
    }


def call_ids(*, session_id: str, app_id: str, vendor_ids: Mapping[str, str]) -> dict[str, str]:
    """Return the ids by which the vendor knows a call (rule 2)."""
    return {
        "call_control_id": session_id,
        "call_leg_id": vendor_ids.get("call_leg_id", session_id),
        "call_session_id": vendor_ids.get("call_session_id", session_id),
        "connection_id": vendor_ids.get("connection_id", app_name(app_id)),
    }


def public_key(seed: bytes) -> str:
    """Return the key that receivers check signatures with, as the vendor's clients take it: 32 bytes in base64."""
    return base64.b64encode(Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()).decode()


def _payload(fact: Fact, file_url: FileUrl) -> dict[str, Any]:
    recording = fact.body["recording"]
    payload: dict[str, Any] = {
        **call_ids(session_id=fact.session_id, app_id=fact.app_id, vendor_ids=recording["vendor_ids"]),
        "client_state": recording["client_state"],
        "recording_id": as_uuid(recording["id"]),
    }
    if fact.kind is FactKind.RECORDING_FINISHED:
        return payload | _saved(recording, fact.body["origin"]["said"], file_url)
    if fact.kind is FactKind.RECORDING_TRANSCRIBED:
        return payload | _transcribed(recording, fact.body["transcription"])
    result = NO_AUDIO if fact.kind is FactKind.RECORDING_ABSENT else ERROR
    return payload | {"reason": ERROR, "result": result}  # rule 3


def _saved(recording: Mapping[str, Any], said: Mapping[str, Any], file_url: FileUrl) -> dict[str, Any]:
    form = recording["format"]
    return {
        "channels": "dual" if recording["channels"] == "stereo" else "single",
        "format": form,
        "recording_started_at": recording["started_at"],
        "recording_ended_at": recording["ended_at"],
        "recording_urls": {form: file_url(recording, form, LINK_TTL_S)},  # rule 1
        "public_recording_urls": {form: recording["url"]} if said.get(PUBLIC_LINKS) else {},
    }


def _transcribed(recording: Mapping[str, Any], transcription: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "recording_transcription_id": as_uuid(transcription["id"]),
        "transcription_text": transcription["text"],
        "calling_party_type": "sip" if recording["from"].startswith(("sip:", "sips:")) else "pstn",
        "status": "completed",
    }


def _sign(_message_id: str, body: bytes, keys: Keys, occasion: Occasion) -> dict[str, str]:
    timestamp = str(int(occasion.now.timestamp()))
    signature = Ed25519PrivateKey.from_private_bytes(keys.vendor).sign(timestamp.encode() + b"|" + body)
    return {"telnyx-timestamp": timestamp, "telnyx-signature-ed25519": base64.b64encode(signature).decode()}


VOCABULARY = Vocabulary(
    events=EVENTS,
    usual=frozenset(EVENTS),
    render=render,
    sign=_sign,
    # The vendor says nothing of how long it tries for a call. These are as for the gateway's webhooks: the first tries
    # outlast a restart of the receiver, then there is one every ten minutes, for a day.
    retries=Retries(delays_s=(1, 5, 30, 120, 600), given_up_after=timedelta(hours=24)),
    key_text=public_key,
)
