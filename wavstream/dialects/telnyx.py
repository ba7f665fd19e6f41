"""Telnyx' media streaming, of Call Control and TeXML; ``json_media`` has the rules of the family. Telnyx' own:

1. The order of media is not promised (its documentation says so). Frames of samples lie where their timestamps say;
   packets of a codec are put in order by ``chunk`` before they are decoded (``packet_media``).
2. ``call_session_id`` is the call, with all of its legs, so streams of two legs meet in one session. A leg is a
   ``call_control_id``, and its parallel streams are told apart by ``stream_id``.
3. The start does not name its tracks: both are there unless the parameter ``track`` says that it is one.
4. The byte order of ``L16`` is not documented: RTP says big-endian, integrations were seen with both
   (https://github.com/pipecat-ai/pipecat/issues/3383). So it is heard from the audio, unless ``byteorder`` says it.
5. ``connected`` may have the stream's token. It is looked at where streams are let in, and nothing of it is kept.
6. What a stream takes is not announced: PCMU, unless ``return_codec`` and ``return_rate`` say what
   ``stream_bidirectional_codec`` and ``_sampling_rate`` are. ``stream_bidirectional_mode`` must be ``rtp``.

Source: https://developers.telnyx.com/api-reference/websockets/stream-call-media-over-websocket
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec

from wavstream.dialects.base import FormatNames, UpgradeRequest
from wavstream.dialects.byte_order import AutoOrder
from wavstream.dialects.events import Event, Frame, Outgoing, Reason, StreamStarted
from wavstream.dialects.json_media import IGNORED, JsonMediaDialect, Media, whole_number
from wavstream.dialects.json_start import (
    JSON_ACCEPTED,
    RATES,
    JsonParameters,
    OneChannel,
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
from wavstream.dialects.packet_media import Decoded, PacketTracks
from wavstream.dialects.parameters import ordered
from wavstream.errors import BadParameter
from wavstream.model.audio import MIN_RATE_HZ, Codec, MediaFormat, PacketCodec, Track


class _Media(Media, gc=False):
    chunk: int | float | str | None = None


class _Message(msgspec.Struct, gc=False):
    event: Literal["media"]
    stream_id: str | int | None = None
    media: _Media | None = None


_CODECS: Mapping[str, Codec | PacketCodec] = {
    "pcmu": Codec.PCMU,
    "pcma": Codec.PCMA,
    "l16": Codec.L16,
    "g722": PacketCodec.G722,
    "opus": PacketCodec.OPUS,
    "amr-wb": PacketCodec.AMR_WB,
}
_NAMES = "PCMU, PCMA, L16, G722, OPUS, AMR-WB"
_RETURNED: Mapping[str, Codec] = {"PCMU": Codec.PCMU, "PCMA": Codec.PCMA, "L16": Codec.L16}
_FIELDS = {
    "media_format.encoding": f"one of {_NAMES} is accepted",
    "media_format.sample_rate": RATES,
    "media_format.channels": "one channel a track is accepted",
}
_ENCODING = "start.media_format.encoding"


class _Format(msgspec.Struct):
    encoding: Text = "PCMU"
    sample_rate: Rate = 8_000
    channels: OneChannel = 1


class _Start(msgspec.Struct):
    media_format: _Format = msgspec.field(default_factory=_Format)


class _Parameters(JsonParameters, frozen=True, kw_only=True):
    byteorder: Literal["little", "big", "auto"] = "auto"
    track: Literal["inbound", "inbound_track", "outbound", "outbound_track", "both", "both_tracks"] = "both"
    return_codec: Literal["PCMU", "PCMA", "L16"] = "PCMU"
    return_rate: Literal[8_000, 16_000, 24_000] = 8_000


_ACCEPTED = {
    **JSON_ACCEPTED,
    "byteorder": "little, big or auto",
    "track": "inbound, outbound or both",
    "return_codec": "PCMU, PCMA or L16",
    "return_rate": "8000, 16000 or 24000",
}


class TelnyxDialect(JsonMediaDialect):
    """The dialect of one Telnyx stream."""

    name: ClassVar[str] = "telnyx"
    playout_ms: ClassVar[int] = 200
    """Telnyx buffers audio, and drops it on ``clear``."""
    ptime_ms: ClassVar[int | None] = 20
    """Less in a message is undefined; 30 s are allowed."""
    stream_name: ClassVar[str] = "stream_id"
    format_names: ClassVar[FormatNames] = FormatNames(
        who="Whoever starts the stream",
        rate="media_format.sample_rate",
        little_endian="the custom parameter byteorder=little",
        big_endian="the custom parameter byteorder=big",
        codec="stream_codec",
        codecs={Codec.PCMU: "PCMU", Codec.PCMA: "PCMA", Codec.L16: "L16", Codec.L16BE: "L16"},
    )
    decoder: ClassVar[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(_Message)

    __slots__ = ("_order", "_packets")

    def __init__(self, request: UpgradeRequest) -> None:
        super().__init__(request)
        self._packets: PacketTracks | None = None
        self._order: AutoOrder | None = None

    def message(self, payload: bytes) -> Outgoing:
        """Return ``media`` with a payload of the codec that the stream takes."""
        return self._outgoing(event="media", media={"payload": base64.b64encode(payload).decode()})

    def clear(self) -> Outgoing | None:
        """Return ``clear``: Telnyx drops what it has not played."""
        return self._outgoing(event="clear")

    def _audio(self, media: Any) -> Sequence[Event]:
        packets, order = self._packets, self._order
        if packets is None:
            events = super()._audio(media)
            return events if order is None else _in_order(events, order)
        track = None if media is None else self._tracks.get(media.track)
        if track is None:
            return super()._audio(media)  # which says why
        number = media.chunk if isinstance(media, _Media) else None
        return self._decoded(packets.take(track, whole_number(number), media))

    def _rest(self) -> Sequence[Event]:
        if self._packets is not None:
            return self._decoded(self._packets.rest())
        return () if self._order is None else self._order.flush()

    def _vendor_event(self, event: str, fields: Mapping[str, Any]) -> Sequence[Event]:
        return IGNORED[Reason.VENDOR_ERROR] if event == "error" else super()._vendor_event(event, fields)

    def _decoded(self, decoded: Decoded) -> Sequence[Event]:
        events: list[Event] = [event for reason in decoded.broken for event in IGNORED[reason]]
        for media in decoded.audio:
            events += super()._audio(media)
        return events

    def _read_start(self, fields: Mapping[str, Any]) -> StreamStarted:
        request = self._request
        media_format = read_fields(fields, "start", _Start, _FIELDS).media_format
        told = fields["start"]
        custom = custom_fields(told.get("custom_parameters"))
        parameters = merged_parameters(request, told, custom, _Parameters, _ACCEPTED)
        codec, _ = read_encoding(media_format.encoding, _CODECS, _ENCODING, accepted=_FIELDS["media_format.encoding"])
        both = parameters.track in ("both", "both_tracks")
        tracks = (Track.INBOUND, Track.OUTBOUND) if both else read_tracks([parameters.track], "track")  # rule 3
        rate_hz = media_format.sample_rate
        wire_codec = None
        if isinstance(codec, PacketCodec):
            wire_codec = codec.value
            packets = PacketTracks(codec, len(tracks), is_ordered=False, field=_ENCODING)
            self._packets, codec, rate_hz = packets, Codec.L16, packets.rate_hz
        elif codec is Codec.L16 and parameters.byteorder == "auto":  # rule 4
            self._order = AutoOrder("big")
        elif parameters.byteorder != "auto":
            codec = ordered(codec, parameters.byteorder)
        ids = _ids(fields, told)
        said = Said(
            ids=ids,
            call_id=ids.get("call_session_id") or ids.get("call_control_id"),  # rule 2
            leg_id=ids.get("call_control_id"),
            stream_id=ids.get("stream_id"),
            form=MediaFormat(codec=codec, rate_hz=rate_hz),
            tracks=tracks,
            custom=custom,
            playback=_playback(parameters),
            wire_codec=wire_codec,
        )
        return started(request, said, parameters, _ACCEPTED)


def _ids(message: Mapping[str, Any], start: Mapping[str, Any]) -> dict[str, str]:
    tags = start.get("tags")
    joined = ",".join(tag for tag in tags[:32] if isinstance(tag, str)) if isinstance(tags, list) else ""
    known = {**start, "stream_id": message.get("stream_id") or start.get("stream_id"), "tags": joined}
    names = ("call_control_id", "call_session_id", "stream_id", "user_id", "connection_id", "client_state", "tags")
    return named_ids(known, names)


def _playback(parameters: _Parameters) -> MediaFormat:
    """Return what the stream takes (rule 6); RTP has 16-bit samples big-endian, unless it is said otherwise."""
    codec = ordered(_RETURNED[parameters.return_codec], "little" if parameters.byteorder == "little" else "big")
    if codec.sample_bytes == 1 and parameters.return_rate != MIN_RATE_HZ:
        raise BadParameter("return_rate", f"{parameters.return_codec} has {MIN_RATE_HZ}")
    return MediaFormat(codec=codec, rate_hz=parameters.return_rate)


def _in_order(events: Sequence[Event], order: AutoOrder) -> Sequence[Event]:
    ordered_events: list[Event] = []
    for event in events:
        ordered_events += order.feed(event) if isinstance(event, Frame) else (event,)
    return ordered_events
