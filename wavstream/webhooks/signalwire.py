"""Facts as SignalWire's status callbacks: one event, ``calling.call.record``, whose state says what happened.

Its pages show two forms. That of ``record_call`` has address, length and size of the file under ``record``, that of
``record`` has them in ``params`` beside ``record.audio``. A message here is both, so that readers of either find them;
SignalWire's own client reads ``record`` first and then ``params``.

Signatures are hex HMACs over the URL and the body as they are sent, once with SHA-1 and once with SHA-256. The key is
the text that its receivers are given, not the bytes that it stands for.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from wavstream.model.app import app_name
from wavstream.model.fact import Fact, FactKind
from wavstream.model.ids import as_uuid
from wavstream.webhooks.vocabulary import Keys, Occasion, Retries, Vocabulary

EVENT = "calling.call.record"
NODE_ID = "wavstream"
"""SignalWire names the machine that has the call; here it is always the server itself."""
SWML_VERBS = frozenset({"record_call", "record"})
DIRECTIONS: Mapping[str, str] = {"inbound": "speak", "outbound": "listen", "both": "both"}
"""From the tracks of a recording to SignalWire's word: seen from the party, what it says and what it hears."""

_STATES: Mapping[FactKind, str] = {
    FactKind.RECORDING_STARTED: "recording",
    FactKind.RECORDING_PAUSED: "paused",
    FactKind.RECORDING_RESUMED: "recording",
    FactKind.RECORDING_FINISHED: "finished",
    FactKind.RECORDING_ABSENT: "no_input",
    FactKind.RECORDING_FAILED: "error",
}
_WITHOUT_FILE = (FactKind.RECORDING_ABSENT, FactKind.RECORDING_FAILED)


def render(fact: Fact, occasion: Occasion) -> bytes:
    """Return the body of the callback; a second try of it has the same one."""
    origin = fact.body["origin"]
    channel = "swml" if origin["command"] in SWML_VERBS else "rest"
    return msgspec.json.encode(
        {
            "event_type": EVENT,
            "event_channel": f"{channel}:{fact.session_id}",
            "timestamp": fact.at.timestamp(),
            "project_id": origin["said"].get("project_id", ""),
            "space_id": app_name(fact.app_id),
            "params": _params(fact, fact.body["recording"], origin["control_id"]),
        }
    )


def _params(fact: Fact, recording: Mapping[str, Any], control_id: str | None) -> dict[str, Any]:
    params: dict[str, Any] = {
        "call_id": fact.session_id,
        "node_id": NODE_ID,
        "control_id": control_id,
        "state": _state(fact.kind, recording),
        "recording_id": as_uuid(recording["id"]),
    }
    if fact.kind is FactKind.RECORDING_PAUSED:
        params["pause_behavior"] = recording["pause_behavior"]
    file = _file(fact.kind, recording)
    audio = {
        "format": recording["format"],
        "direction": DIRECTIONS[recording["track"]],
        "stereo": recording["channels"] == "stereo",
    }
    return params | _times(recording) | file | {"record": {**file, "format": recording["format"], "audio": audio}}


def _state(kind: FactKind, recording: Mapping[str, Any]) -> str:
    if kind is FactKind.RECORDING_FINISHED and recording["end_reason"] == "no_input":
        return "no_input"
    return _STATES[kind]


def _file(kind: FactKind, recording: Mapping[str, Any]) -> dict[str, Any]:
    """Return where the file is, and how long and large; its address is known from the start, the others at the end."""
    if kind in _WITHOUT_FILE:
        return {}
    if kind is not FactKind.RECORDING_FINISHED:
        return {"url": recording["url"]}
    return {
        "url": recording["url"],
        "duration": recording["duration_ms"] / 1000,
        "size": recording["size_bytes"],
    }


def _times(recording: Mapping[str, Any]) -> dict[str, float]:
    """Return start and end, which the end tells, in seconds of Unix time."""
    if recording["started_at"] is None or recording["ended_at"] is None:
        return {}
    times = {"start_time": _unix(recording["started_at"]), "end_time": _unix(recording["ended_at"])}
    if joined_ms := [leg["joined_ms"] for leg in recording["legs"]]:
        times["first_frame_time"] = round(times["start_time"] + min(joined_ms) / 1000, 6)
    return times


def _unix(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def key_text(key: bytes) -> str:
    """Return the signing key as receivers paste it."""
    return key.hex()


def _sign(_message_id: str, body: bytes, keys: Keys, occasion: Occasion) -> dict[str, str]:
    key, content = key_text(keys.vendor).encode(), occasion.url.encode() + body
    return {
        "X-Signalwire-Signature": hmac.new(key, content, hashlib.sha1).hexdigest(),
        "X-Signalwire-SHA256-Signature": hmac.new(key, content, hashlib.sha256).hexdigest(),
    }


VOCABULARY = Vocabulary(
    events=dict.fromkeys(_STATES, EVENT),
    # A callback goes to the URL that its start named. Without one nothing is told, as at SignalWire.
    usual=frozenset(),
    render=render,
    sign=_sign,
    # SignalWire promises its best effort. Four tries take less than a minute; a callback that waits behind others of
    # its recording has as many.
    retries=Retries(delays_s=(1, 5, 30), given_up_after=timedelta(hours=1), tries=4),
    key_text=key_text,
)
