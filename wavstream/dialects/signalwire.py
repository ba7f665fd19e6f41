"""SignalWire's streams, of cXML ``<Stream>`` and SWML ``connect``: Twilio's messages, with these differences:

1. ``connected`` has version 0.2.0. Ids are UUIDs. ``media`` and ``stop`` are documented without ``streamSid``, and
   ``start`` has it in the object only; so it is never required, and what is sent has it where it is known.
2. 16-bit samples (``L16@16000h``, ``L16@24000h``) are little-endian: that is not documented, and integrations pass them
   on untouched.
3. SWML has PCMA and G722 too. Packets of G722 come in order, since nothing says otherwise, and are decoded one by one.
   A stream of G722 is sent nothing.
4. ``dtmf`` has a duration, which nothing here needs.

Source: the cXML page of ``<Stream>`` and the SWML page of ``connect`` in https://github.com/signalwire/docs
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec

from wavstream.dialects.base import FormatNames, UpgradeRequest
from wavstream.dialects.events import Event, Outgoing, StreamStarted
from wavstream.dialects.json_media import IGNORED, JsonMediaDialect, Media
from wavstream.dialects.json_start import (
    ORDERED_ACCEPTED,
    RATES,
    OneChannel,
    OrderedParameters,
    Rate,
    Said,
    Text,
    custom_fields,
    merged_parameters,
    named_ids,
    read_encoding,
    read_fields,
    read_tracks,
    started,
)
from wavstream.dialects.packet_media import PacketTracks
from wavstream.dialects.parameters import ordered
from wavstream.model.audio import Codec, MediaFormat, PacketCodec


class _Message(msgspec.Struct, gc=False):
    event: Literal["media"]
    stream_id: str | int | None = msgspec.field(name="streamSid", default=None)
    media: Media | None = None


_CODECS: Mapping[str, Codec | PacketCodec] = {
    "audio/x-mulaw": Codec.PCMU,
    "audio/x-alaw": Codec.PCMA,
    "audio/x-l16": Codec.L16,
    "audio/g722": PacketCodec.G722,
    "audio/x-g722": PacketCodec.G722,
    "pcmu": Codec.PCMU,
    "pcma": Codec.PCMA,
    "l16": Codec.L16,
    "g722": PacketCodec.G722,
}
"""The names of SWML too: what an encoding of it is called on the wire is not documented."""
_ENCODINGS = "one of audio/x-mulaw, audio/x-L16, audio/x-alaw, audio/g722 is accepted"
_FIELDS = {
    "tracks": "inbound and outbound are accepted",
    "mediaFormat.encoding": _ENCODINGS,
    "mediaFormat.sampleRate": RATES,
    "mediaFormat.channels": "one channel a track is accepted",
}


class _Format(msgspec.Struct, rename="camel"):
    encoding: Text = "audio/x-mulaw"
    sample_rate: Rate = 8_000
    channels: OneChannel = 1


class _Start(msgspec.Struct, rename="camel"):
    tracks: list[Text] = []
    media_format: _Format = msgspec.field(default_factory=_Format)


class SignalWireDialect(JsonMediaDialect):
    """The dialect of one SignalWire stream."""

    name: ClassVar[str] = "signalwire"
    playout_ms: ClassVar[int] = 200
    """SignalWire buffers audio (unless the stream is ``realtime``), and drops it on ``clear``."""
    ptime_ms: ClassVar[int | None] = 20
    stream_name: ClassVar[str] = "streamSid"
    format_names: ClassVar[FormatNames] = FormatNames(
        who="Whoever starts the stream",
        rate="codec rate",
        little_endian="the parameter byteorder=little",
        big_endian="the parameter byteorder=big",
        codec="codec",
        codecs={Codec.PCMU: "PCMU", Codec.PCMA: "PCMA", Codec.L16: "L16", Codec.L16BE: "L16"},
    )
    decoder: ClassVar[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(_Message)

    __slots__ = ("_packets",)

    def __init__(self, request: UpgradeRequest) -> None:
        super().__init__(request)
        self._packets: PacketTracks | None = None

    def message(self, payload: bytes) -> Outgoing:
        """Return ``media``; SignalWire plays it behind what it has already."""
        return self._to_stream(event="media", media={"payload": base64.b64encode(payload).decode()})

    def clear(self) -> Outgoing | None:
        """Return ``clear``: SignalWire drops what it has not played."""
        return self._to_stream(event="clear")

    def _to_stream(self, **fields: object) -> Outgoing:
        named = {} if self._stream_id is None else {"streamSid": self._stream_id}  # rule 1
        return self._outgoing(**fields, **named)

    def _audio(self, media: Any) -> Sequence[Event]:
        packets = self._packets
        track = None if packets is None or media is None else self._tracks.get(media.track)
        if packets is None or track is None:
            return super()._audio(media)
        decoded = packets.take(track, None, media)  # rule 3
        events: list[Event] = [event for reason in decoded.broken for event in IGNORED[reason]]
        for each in decoded.audio:
            events += super()._audio(each)
        return events

    def _read_start(self, fields: Mapping[str, Any]) -> StreamStarted:
        request = self._request
        start = read_fields(fields, "start", _Start, _FIELDS)
        told = fields["start"]
        custom = custom_fields(told.get("customParameters", told.get("custom_parameters")))
        parameters = merged_parameters(request, told, custom, OrderedParameters, ORDERED_ACCEPTED)
        codec, rate_hz = read_encoding(
            start.media_format.encoding, _CODECS, "start.mediaFormat.encoding", accepted=_ENCODINGS
        )
        tracks = read_tracks(start.tracks)
        form = MediaFormat(rate_hz=rate_hz or start.media_format.sample_rate)
        if isinstance(codec, PacketCodec):
            packets = PacketTracks(codec, len(tracks), is_ordered=True, field="start.mediaFormat.encoding")
            self._packets, form = packets, MediaFormat(rate_hz=packets.rate_hz)
        else:
            form = MediaFormat(codec=ordered(codec, parameters.byteorder), rate_hz=form.rate_hz)
        stream_sid = told.get("streamSid") or fields.get("streamSid")
        ids = named_ids({**told, "streamSid": stream_sid}, ("callSid", "streamSid", "accountSid"))
        said = Said(
            ids=ids,
            call_id=ids.get("callSid"),
            leg_id=ids.get("callSid"),
            stream_id=ids.get("streamSid"),
            form=form,
            wire_codec=codec.value if isinstance(codec, PacketCodec) else None,
            tracks=tracks,
            custom=custom,
        )
        stream = started(request, said, parameters, ORDERED_ACCEPTED)
        # What is sent would have to be G.722 too, which we do not encode.
        return msgspec.structs.replace(stream, accepts_audio=stream.accepts_audio and self._packets is None)
