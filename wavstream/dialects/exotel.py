"""Exotel's streams, of the applets Stream and Voicebot; ``json_media`` has the rules of the family. Exotel's own:

1. All names are in snake case, and rates are texts. Ids have any form.
2. Audio is 16-bit linear, little-endian, in messages of 100 ms or more; newer accounts may have mu-law. The encoding of
   the former has several names (``audio/x-raw``, ``raw/slin``, ``base64``).
3. Voicebot is two-way, Stream is not, and both look the same; so ``two_way`` must say it. What Voicebot is sent should
   be 100 ms a message, in multiples of 320 bytes.
4. A stream has one track, and its messages name none.

Source: https://developer.exotel.com/docs/agentstream/websocket-protocol
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import msgspec

from wavstream.dialects.base import FormatNames
from wavstream.dialects.events import Outgoing, StreamStarted
from wavstream.dialects.identity import named_track
from wavstream.dialects.json_media import JsonMediaDialect, Media
from wavstream.dialects.json_start import (
    ORDERED_ACCEPTED,
    RATES,
    OrderedParameters,
    Rate,
    Said,
    Text,
    custom_fields,
    custom_track,
    merged_parameters,
    named_ids,
    read_encoding,
    read_fields,
    read_tracks,
    started,
)
from wavstream.dialects.parameters import ordered
from wavstream.model.audio import Codec, MediaFormat, Track


class _Message(msgspec.Struct, gc=False):
    event: Literal["media"]
    stream_id: str | int | None = msgspec.field(name="stream_sid", default=None)
    media: Media | None = None


_CODECS = {
    "audio/x-raw": Codec.L16,
    "audio/x-l16": Codec.L16,
    "raw/slin": Codec.L16,
    "base64": Codec.L16,
    "audio/x-mulaw": Codec.PCMU,
    "audio/x-alaw": Codec.PCMA,
}
_ENCODINGS = "one of audio/x-raw, raw/slin, base64, audio/x-mulaw, audio/x-alaw is accepted"
_FIELDS = {
    "tracks": "inbound and outbound are accepted",
    "media_format.encoding": _ENCODINGS,
    "media_format.sample_rate": RATES,
}


class _Format(msgspec.Struct):
    encoding: Text = "audio/x-raw"
    sample_rate: Rate | None = None


class _Start(msgspec.Struct):
    tracks: list[Text] = []
    media_format: _Format = msgspec.field(default_factory=_Format)


class ExotelDialect(JsonMediaDialect):
    """The dialect of one Exotel stream."""

    name: ClassVar[str] = "exotel"
    playout_ms: ClassVar[int] = 200
    """Exotel buffers audio, and drops it on ``clear``."""
    ptime_ms: ClassVar[int | None] = 100  # rule 3
    stream_name: ClassVar[str] = "stream_sid"
    silent_events: ClassVar[frozenset[str]] = frozenset(("connected", "clear"))
    format_names: ClassVar[FormatNames] = FormatNames(
        who="Whoever sets the applet's URL",
        rate="sample-rate",
        little_endian="the parameter byteorder=little",
        big_endian="the parameter byteorder=big",
        codec="media_format.encoding",
        codecs={
            Codec.L16: "audio/x-raw",
            Codec.L16BE: "audio/x-raw",
            Codec.PCMU: "audio/x-mulaw",
            Codec.PCMA: "audio/x-alaw",
        },
    )
    decoder: ClassVar[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(_Message)

    __slots__ = ()

    def message(self, payload: bytes) -> Outgoing:
        """Return ``media`` for a Voicebot."""
        media = {"payload": base64.b64encode(payload).decode()}
        return self._outgoing(event="media", stream_sid=self._stream_id, media=media)

    def clear(self) -> Outgoing | None:
        """Return ``clear``: Exotel drops what it has not played."""
        return self._outgoing(event="clear", stream_sid=self._stream_id)

    def _read_start(self, fields: Mapping[str, Any]) -> StreamStarted:
        request = self._request
        start = read_fields(fields, "start", _Start, _FIELDS)
        told = fields["start"]
        custom = custom_fields(told.get("custom_parameters"))
        parameters = merged_parameters(request, told, custom, OrderedParameters, ORDERED_ACCEPTED)
        form = start.media_format
        codec, rate_hz = read_encoding(form.encoding, _CODECS, "start.media_format.encoding", accepted=_ENCODINGS)
        assert isinstance(codec, Codec)
        stream_sid = told.get("stream_sid") or fields.get("stream_sid")
        ids = named_ids({**told, "stream_sid": stream_sid}, ("call_sid", "stream_sid", "account_sid"))
        tracks = (
            read_tracks(start.tracks)
            if start.tracks
            else (named_track(request, custom_track(custom)) or Track.INBOUND,)
        )
        said = Said(
            ids=ids,
            call_id=ids.get("call_sid"),
            leg_id=ids.get("call_sid"),
            stream_id=ids.get("stream_sid"),
            form=MediaFormat(codec=ordered(codec, parameters.byteorder), rate_hz=form.sample_rate or rate_hz or 8_000),
            tracks=tracks,
            custom=custom,
        )
        stream = started(request, said, parameters, ORDERED_ACCEPTED)
        return msgspec.structs.replace(stream, accepts_audio=stream.accepts_audio and stream.stream_id is not None)
