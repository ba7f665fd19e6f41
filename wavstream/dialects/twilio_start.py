"""How a Twilio stream introduces itself: its ids, tracks and format, and what its custom parameters ask for.

- The leg of a call is its ``callSid``, so that parallel streams of one call are one leg; what tells them apart is their
  ``streamSid``.
- One-way streams (``<Start>``) and two-way ones (``<Connect>``) look the same on the wire, and Twilio complains of
  anything that a one-way stream is sent (error 31924). So a stream is two-way if its custom parameter ``two_way`` says
  so, and only then.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import msgspec

from wavstream.dialects.base import UpgradeRequest
from wavstream.dialects.events import StreamStarted
from wavstream.dialects.parameters import ACCEPTED, StreamParameters, customer_ids, read_id, read_parameters
from wavstream.errors import BadParameter
from wavstream.model.audio import MAX_RATE_HZ, MIN_RATE_HZ, Codec, MediaFormat, Track, TrackClock
from wavstream.model.ids import is_customer_id

TRACKS: Mapping[str, Track] = {
    "inbound": Track.INBOUND,
    "inbound_track": Track.INBOUND,
    "outbound": Track.OUTBOUND,
    "outbound_track": Track.OUTBOUND,
}
"""Tracks by the names that Twilio has for them."""

_CODECS = {"audio/x-mulaw": Codec.PCMU, "audio/x-alaw": Codec.PCMA, "audio/x-l16": Codec.L16}
_PLACE = re.compile(r"\$\.([\w.]+)")
_TEXT = "text of at most 256 characters is accepted"
_FIELDS = {
    "streamSid": _TEXT,
    "callSid": _TEXT,
    "accountSid": _TEXT,
    "tracks": "inbound and outbound are accepted",
    "mediaFormat.encoding": f"one of {', '.join(_CODECS)} is accepted",
    "mediaFormat.sampleRate": f"a whole number of {MIN_RATE_HZ} to {MAX_RATE_HZ} is accepted",
    "mediaFormat.channels": "one channel a track is accepted",
}
"""What each field takes, for a person; the others are objects."""

_Text = Annotated[str, msgspec.Meta(max_length=256)]


class _Format(msgspec.Struct, rename="camel"):
    encoding: _Text = "audio/x-mulaw"
    sample_rate: Annotated[int, msgspec.Meta(ge=MIN_RATE_HZ, le=MAX_RATE_HZ)] = 8_000
    channels: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1


class _Start(msgspec.Struct, rename="camel"):
    stream_sid: _Text = ""
    call_sid: _Text = ""
    account_sid: _Text = ""
    tracks: list[_Text] = []
    custom_parameters: dict[str, Any] | None = None
    media_format: _Format = msgspec.field(default_factory=_Format)


class _Parameters(StreamParameters, frozen=True, kw_only=True):
    two_way: bool = False


_ACCEPTED = {**ACCEPTED, "two_way": "0 or 1"}
_NO_VENDOR_ID = _ACCEPTED.keys() | {"session_id", "leg", "app", "token"}


def read_start(message: Mapping[str, Any], request: UpgradeRequest) -> StreamStarted:
    """The stream that a ``start`` message introduces; raises BadParameter."""
    start = _part(message)
    custom = start.custom_parameters or {}
    parameters = read_parameters(custom, _Parameters, _ACCEPTED)
    codec = _CODECS.get(start.media_format.encoding.lower())
    if codec is None:
        raise BadParameter("start.mediaFormat.encoding", _FIELDS["mediaFormat.encoding"])
    stream_sid = start.stream_sid or read_id(message, "streamSid") or ""
    sids = {"callSid": start.call_sid, "streamSid": stream_sid, "accountSid": start.account_sid}
    known = {name: sid for name, sid in sids.items() if is_customer_id(sid)}
    return StreamStarted(
        session_id=request.session_id
        or read_id(custom, "session_id")
        or known.get("callSid")
        or known.get("streamSid"),
        leg=request.leg or read_id(custom, "leg") or known.get("callSid"),
        format=MediaFormat(codec=codec, rate_hz=start.media_format.sample_rate),
        clock=TrackClock.TIMESTAMPED,
        tracks=_tracks(start.tracks),
        channel=parameters.channel,
        call=replace(parameters.call, vendor_ids={**customer_ids(custom, _NO_VENDOR_ID), **known}),
        record=parameters.record,
        keepalive=parameters.keepalive,
        accepts_audio=parameters.two_way and "streamSid" in known,
        stream_id=known.get("streamSid"),
    )


def _part(message: Mapping[str, Any]) -> _Start:
    try:
        return msgspec.convert(message.get("start"), _Start, strict=False)
    except msgspec.ValidationError as error:
        found = _PLACE.search(str(error))
        place = found.group(1) if found else ""
        raise BadParameter(f"start.{place}".rstrip("."), _FIELDS.get(place, "an object is accepted")) from error


def _tracks(names: list[str]) -> tuple[Track, ...]:
    """In the order given; without any it is the inbound one, as of a two-way stream."""
    unknown = next((name for name in names if name not in TRACKS), None)
    if unknown is not None:
        raise BadParameter("start.tracks", _FIELDS["tracks"])
    return tuple(dict.fromkeys(TRACKS[name] for name in names)) or (Track.INBOUND,)
