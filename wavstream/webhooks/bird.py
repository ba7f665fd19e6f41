"""Bird's recording object, and the optional webhook ``voice.recording`` whose body it is.

Bird's own webhooks have no event of a recording: its clients ask for the state again and again. So nothing is told
unless the app names the event. A message is the object that ``GET /workspaces/{id}/recordings/{id}`` answers, at that
moment; ``status`` says what happened.

1. The object has every field that Bird requires, and none that Bird does not know: a strict reader refuses one more.
   What is not known is left out, never null.
2. Bird has seven words for a status. A file that is deleted or whose retention is over is ``absent``, like one that
   never was.
3. ``url`` is there while the file can be fetched, and opens it for ten minutes.
4. The signature is Bird's: HMAC-SHA256 over time, URL and the digest of the body, a line each, in base64. The key is
   the text that the receiver was given, as it is.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from wavstream.model.fact import Fact, FactKind
from wavstream.model.ids import as_uuid
from wavstream.webhooks.vocabulary import Keys, Occasion, Retries, Vocabulary

EVENT = "voice.recording"
LINK_TTL_S = 600
"""How long the link in a message opens the file, as in Bird's example of one."""

WHOLE_CALL, VOICEMAIL = "recordCall", "record"
"""Bird's words for the two commands that start a recording."""
WORKSPACE, CHANNEL = "workspaceId", "channelId"
"""Bird's names for its ids of a call, in the call's ``vendor_ids`` and in what the command said."""

DIRECTIONS = {"inbound": "incoming", "outbound": "outgoing"}
"""From our word for the direction of a call to Bird's."""
_STATUSES = {"expired": "absent", "deleted": "absent"}
_PHONE_NUMBER = re.compile(r"\+?[0-9][0-9 ().-]*", re.ASCII)


def status_of(status: str) -> str:
    """Return Bird's word for a status of ours (rule 2)."""
    return _STATUSES.get(status, status)


def origin_of(command: str) -> str:
    """Return Bird's word for what started a recording, from the command that did.

    Of its four words two are commands to a call. What no command of Bird's started is nearest to a recording of the
    whole call.
    """
    return "call-command-record" if command == VOICEMAIL else "call-command-record-call"


def account_of(name: str, vendor_ids: Mapping[str, str], said: Mapping[str, Any]) -> str | None:
    """Return the call's workspace or channel: as the media server told it, else as the command named it."""
    known: str | None = vendor_ids.get(name) or said.get(name)
    return known


def seconds(duration_ms: int) -> int:
    """Return a length as Bird shows it: whole seconds, half up."""
    return (duration_ms + 500) // 1000


def recording_object(
    document: Mapping[str, Any],
    *,
    command: str,
    said: Mapping[str, Any],
    url: str | None,
    is_transcribed: bool = False,
) -> dict[str, Any]:
    """Return Bird's object of a recording (rule 1), from its document as JSON and what its start said.

    ``url`` is a link to its file, None if there is none (rule 3); ``is_transcribed``: whether it has a transcript.
    """
    duration_ms = document["duration_ms"]
    fields = {
        "id": as_uuid(document["id"]),
        "source": "call",
        "sourceId": document["session_id"],
        "channelId": account_of(CHANNEL, document["vendor_ids"], said),
        "status": status_of(document["status"]),
        "direction": DIRECTIONS.get(document["direction"]),
        "originator": _party(document["from"]),
        "receiver": _party(document["to"]),
        "origin": origin_of(command),
        "duration": None if duration_ms is None else seconds(duration_ms),
        "stereo": document["channels"] == "stereo",
        "format": document["format"],
        "transcription": is_transcribed,
        "url": url,
        "createdAt": document["created_at"],
        "updatedAt": document["updated_at"],
        "startedAt": document["started_at"],
        "endedAt": document["ended_at"],
    }
    return {name: value for name, value in fields.items() if value is not None}


def render(fact: Fact, occasion: Occasion) -> bytes:
    """Return the body of the webhook: the recording, as it was when the fact was told."""
    document, origin = fact.body["recording"], fact.body["origin"]
    url = None
    if fact.kind is FactKind.RECORDING_FINISHED:
        url = occasion.file_url(document, document["format"], LINK_TTL_S)
    return msgspec.json.encode(recording_object(document, command=origin["command"], said=origin["said"], url=url))


def key_text(key: bytes) -> str:
    """Return the signing key that the receiver is given."""
    return key.hex()


def sign(message_id: str, body: bytes, keys: Keys, occasion: Occasion) -> dict[str, str]:
    """Return the three headers of a message (rule 4)."""
    timestamp = str(int(occasion.now.timestamp()))
    content = b"\n".join((timestamp.encode(), occasion.url.encode(), hashlib.sha256(body).digest()))
    signature = hmac.digest(key_text(keys.vendor).encode(), content, hashlib.sha256)
    return {
        "messagebird-signature": base64.b64encode(signature).decode(),
        "messagebird-request-timestamp": timestamp,
        "messagebird-request-id": as_uuid(message_id),
    }


def _party(text: str) -> dict[str, Any] | None:
    """Return a party of the call by what the switch wrote; None: it wrote nothing."""
    if not text:
        return None
    kind = "pstn" if _PHONE_NUMBER.fullmatch(text) else "webrtc"
    return {"number": {"type": kind, "number": text}}


VOCABULARY = Vocabulary(
    events=dict.fromkeys(
        (
            FactKind.RECORDING_STARTED,
            FactKind.RECORDING_PAUSED,
            FactKind.RECORDING_RESUMED,
            FactKind.RECORDING_FINISHED,
            FactKind.RECORDING_ABSENT,
            FactKind.RECORDING_FAILED,
        ),
        EVENT,
    ),
    usual=frozenset(),
    render=render,
    sign=sign,
    # Each wait is longer than the one before, and the last try is within eight hours, as Bird has it.
    retries=Retries(delays_s=(1, 5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400), given_up_after=timedelta(hours=8)),
    key_text=key_text,
)
