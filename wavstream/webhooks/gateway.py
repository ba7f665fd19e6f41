"""Facts as messages of the gateway.

Its pages show two forms, flat ones and ones with ``sequence`` and ``data``. A message here is both: the fields of the
event at the top, and again in ``data``, so that readers of either page find them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from wavstream.model.fact import Fact, FactKind
from wavstream.webhooks.signing import signed_headers
from wavstream.webhooks.vocabulary import Keys, Occasion, Retries, Vocabulary

EVENTS: Mapping[FactKind, str] = {
    FactKind.COMMAND_DONE: "command.result",
    FactKind.RECORDING_STARTED: "recording.started",
    FactKind.RECORDING_FINISHED: "recording.completed",
    # ``recording.completed`` would promise a file.
    FactKind.RECORDING_ABSENT: "recording.failed",
    FactKind.RECORDING_FAILED: "recording.failed",
    # Words of ours, for apps that name them.
    FactKind.RECORDING_STORED: "recording.stored",
    FactKind.RECORDING_TRANSCRIBED: "recording.transcribed",
    FactKind.RECORDING_NOT_TRANSCRIBED: "recording.transcription_failed",
}

TRANSCRIPTION_FIELDS = ("id", "language", "engine", "words", "speech_ms", "text")
"""What is told of a transcript; all of it is at ``/v1/recordings/{id}/transcript``."""
FAILED_FIELDS = ("id", "language", "engine")
"""What is told of one that failed, beside why."""


def render(fact: Fact, occasion: Occasion) -> bytes:
    """Return the body of the webhook."""
    fields = _fields(fact)
    head = {"event": EVENTS[fact.kind], "session_uuid": fact.session_id}
    return msgspec.json.encode({**head, **fields, "sequence": occasion.sequence, "data": fields})


def _fields(fact: Fact) -> dict[str, Any]:
    body = fact.body
    # Facts of before November 2026 that still wait for their delivery have the id under its name of then.
    uid = {"command_uid": body["request_id"] if "request_id" in body else body["command_uid"]}
    if fact.kind is FactKind.COMMAND_DONE:
        fields = {**uid, "command": body["command"], "success": body["success"]}
        return fields if body["success"] else {**fields, "error": body["error"]}
    recording = body["recording"]
    uid["recording_id"] = recording["id"]
    if fact.kind is FactKind.RECORDING_FINISHED:
        duration_s = (recording["duration_ms"] + 500) // 1000
        return {"recording_url": recording["url"], "duration": duration_s, **uid}
    if fact.kind is FactKind.RECORDING_STORED:
        stored = body["stored"]
        about = {name: recording[name] for name in ("size_bytes", "audio_sha256")}
        return {"recording_url": recording["url"], "store": stored["store"], "key": stored["key"], **about, **uid}
    if fact.kind is FactKind.RECORDING_TRANSCRIBED:
        said = body["transcription"]
        return {"transcription": {name: said[name] for name in TRANSCRIPTION_FIELDS}, **uid}
    if fact.kind is FactKind.RECORDING_NOT_TRANSCRIBED:
        failed = body["transcription"]
        return {"error": failed["error"], "transcription": {name: failed[name] for name in FAILED_FIELDS}, **uid}
    if fact.kind is FactKind.RECORDING_ABSENT:
        return {"error": recording["error"] or "no audio was received", **uid}
    if fact.kind is FactKind.RECORDING_FAILED:
        return {"error": recording["error"], **uid}
    return uid


def _sign(message_id: str, body: bytes, keys: Keys, occasion: Occasion) -> dict[str, str]:
    return signed_headers(message_id, body, keys.secrets, occasion.now)


VOCABULARY = Vocabulary(
    events=EVENTS,
    never=("call.new", "call.answered", "call.hangup", "dtmf", "playback.*", "conference.*"),
    usual=frozenset({FactKind.COMMAND_DONE, FactKind.RECORDING_FINISHED}),
    render=render,
    sign=_sign,
    # The first tries outlast a restart of the receiver, then there is one every ten minutes, for a day.
    retries=Retries(delays_s=(1, 5, 30, 120, 600), given_up_after=timedelta(hours=24)),
)
