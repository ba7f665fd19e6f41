"""The messages of the load, framed and masked before the first is sent: what a leg says first, and its audio. No IO."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping

import numpy as np

from wavstream.model.audio import Codec
from wavstream.rendering.codecs.encode import encode
from wavstream.simulator.signal import FRAME_SAMPLES, PTIME_S, RING_FRAMES, Ring

MASK = bytes.fromhex("5a3cc396")
_NO_MASK = bytes(4)
"""Leaves a message as it is, at the same cost for the server."""

CODECS: Mapping[str, Codec] = {
    "pcm": Codec.L16,
    "twilio": Codec.PCMU,
    "audio-fork": Codec.L16,
    "audio-stream": Codec.L16,
}
"""What the load sends, by the dialects that it speaks."""

Message = Callable[[int, int, int], bytes]
"""Makes the message of a place in the ring as the frame of this number, both from 0, of the leg of a number."""


def opening(dialect: str, number: int) -> bytes:
    """Return the bytes that leg ``number`` sends before its audio."""
    if dialect in ("pcm", "audio-stream"):
        return b""
    if dialect == "audio-fork":
        return _METADATA
    stream = _stream_sid(number).decode()
    start = {
        "streamSid": stream,
        "callSid": f"CA{number:032x}",
        "tracks": ["inbound"],
        "customParameters": {},
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    }
    return _text(json.dumps({"event": "start", "streamSid": stream, "start": start}).encode())


def messages(dialect: str, ring: Ring) -> Message:
    """Make every message of the ring."""
    match dialect:
        case "twilio":
            return _twilio(ring)
        case "audio-stream":
            return _late_metadata(_pcm(ring))
        case _:
            return _pcm(ring)


def _pcm(ring: Ring) -> Message:
    payload = ring.astype("<i2", copy=False).view(np.uint8)
    size = FRAME_SAMPLES * 2
    mask = np.frombuffer(MASK * (size // 4), np.uint8)
    wire = np.empty((RING_FRAMES, 8 + size), np.uint8)
    wire[:, :8] = np.frombuffer(b"\x82\xfe" + size.to_bytes(2, "big") + MASK, np.uint8)
    wire[:, 8:] = payload ^ mask
    whole = wire.tobytes()
    frames = [whole[at : at + 8 + size] for at in range(0, len(whole), 8 + size)]
    return lambda place, _number, _leg: frames[place]


def _late_metadata(audio: Message) -> Message:
    """Put the metadata behind the first frame."""
    return lambda place, number, leg: audio(place, number, leg) + (b"" if number else _METADATA)


def _twilio(ring: Ring) -> Message:
    whole = encode(ring, Codec.PCMU)
    payloads = [base64.b64encode(whole[at : at + FRAME_SAMPLES]) for at in range(0, len(whole), FRAME_SAMPLES)]
    ptime_ms = round(PTIME_S * 1000)

    def message(place: int, number: int, leg: int) -> bytes:
        return _text(
            b'{"event":"media","sequenceNumber":"%d","streamSid":"%s","media":{"track":"inbound","chunk":"%d",'
            b'"timestamp":"%d","payload":"%s"}}'
            % (number + 2, _stream_sid(leg), number + 1, number * ptime_ms, payloads[place])
        )

    return message


def _stream_sid(leg: int) -> bytes:
    """Return what each message of a leg calls its stream: ``MZ`` and 32 hex digits, as Twilio's."""
    return b"MZ%032x" % leg


def _text(message: bytes) -> bytes:
    """Frame a text message of at least 126 bytes."""
    return b"\x81\xfe" + len(message).to_bytes(2, "big") + _NO_MASK + message


_METADATA = _text(json.dumps({"rate": 8000, "mix": "mono"}).encode().ljust(126))
