"""Why a leg is not heard, or not as it should be, in words; and which part of the documents mends it."""

from __future__ import annotations

from typing import NamedTuple

from wavstream.model.document import Document


class Reason(Document):
    """Why a leg is silent, or about to disappoint."""

    code: str
    text: str
    docs: str
    """Page and heading of the documents."""


class _Known(NamedTuple):
    text: str
    docs: str


_WRONG = "silent-recording.md#described-wrongly"
_RECORDING = "silent-recording.md#a-good-stream"
_SERVER = "silent-recording.md#a-server-that-is-busy-with-itself"

_KNOWN = {
    "no_frames_yet": _Known(
        "The stream is open, and no audio has come: the media server has not begun to send, or sends another track.",
        "silent-recording.md#audio-that-is-not-understood",
    ),
    "frames_stopped": _Known(
        "Audio came, and none for the last second: the sender leaves silence out, is on hold, or its link has stalled.",
        "silent-recording.md#a-sender-that-has-stopped",
    ),
    "frames_of_silence": _Known(
        "Frames come, and there is only silence in them: the party is muted or on hold, or the wrong track is sent.",
        "silent-recording.md#zeros",
    ),
    "wrong_byte_order": _Known("The audio is noise: its bytes are probably in the other order.", _WRONG),
    "wrong_format": _Known("More or less audio comes than its description says: rate or codec are wrong.", _WRONG),
    "paused": _Known(
        "Every recording of the call is paused: what is said now is in no file, until one is resumed.",
        _RECORDING,
    ),
    "not_recorded": _Known("Nothing records this call: start a recording, and it is heard from then on.", _RECORDING),
    "held_back": _Known(
        "The call is being brought back after a restart: what it sends waits, and is recorded when that is done.",
        _SERVER,
    ),
    "server_behind": _Known(
        "The server reads nothing for a moment, since its disk does not keep up. What is sent waits; nothing is lost.",
        _SERVER,
    ),
    "away": _Known(
        "Its stream was lost, and is waited for: the leg goes on when the media server connects again.",
        "silent-recording.md#a-stream-that-was-lost",
    ),
}
CODES = tuple(_KNOWN)


def reason(code: str, *, details: str = "") -> Reason:
    """Return a reason by its code; ``details`` are said behind it."""
    known = _KNOWN[code]
    return Reason(code=code, text=f"{known.text} {details}".strip(), docs=known.docs)
