"""Facts as messages of the gateway.

Its pages show two forms, flat ones and ones with ``sequence`` and ``data``. A message here is both: the fields of the
event at the top, and again in ``data``, so that readers of either page find them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from wavstream.model.fact import Fact, FactKind

EVENTS: Mapping[FactKind, str] = {
    FactKind.COMMAND_DONE: "command.result",
    FactKind.RECORDING_STARTED: "recording.started",
    FactKind.RECORDING_FINISHED: "recording.completed",
    # ``recording.completed`` would promise a file.
    FactKind.RECORDING_ABSENT: "recording.failed",
    FactKind.RECORDING_FAILED: "recording.failed",
}


def kinds(events: Sequence[str]) -> tuple[FactKind, ...] | None:
    """Return what an allow-list of event names means; None for an empty one, which does not choose.

    Names that are not known mean nothing.
    """
    return tuple(kind for kind, event in EVENTS.items() if event in events) if events else None


def render(fact: Fact, sequence: int) -> bytes:
    """Return the body of the webhook."""
    fields = _fields(fact)
    head = {"event": EVENTS[fact.kind], "session_uuid": fact.session_id}
    return msgspec.json.encode({**head, **fields, "sequence": sequence, "data": fields})


def _fields(fact: Fact) -> dict[str, Any]:
    body = fact.body
    # Facts of before November 2026 that still wait for their delivery have the id under its name of then.
    uid = {"command_uid": body["request_id"] if "request_id" in body else body["command_uid"]}
    if fact.kind is FactKind.COMMAND_DONE:
        fields = {**uid, "command": body["command"], "success": body["success"]}
        return fields if body["success"] else {**fields, "error": body["error"]}
    recording = body["recording"]
    if fact.kind is FactKind.RECORDING_FINISHED:
        duration_s = (recording["duration_ms"] + 500) // 1000
        return {"recording_url": recording["url"], "duration": duration_s, **uid}
    if fact.kind is FactKind.RECORDING_ABSENT:
        return {"error": "no audio was received", **uid}
    if fact.kind is FactKind.RECORDING_FAILED:
        return {"error": recording["error"], **uid}
    return uid
