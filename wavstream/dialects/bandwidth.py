"""Bandwidth's streams, of BXML ``<StartStream>``; ``json_media`` has the rules of the family. Bandwidth's own:

1. Messages are told apart by ``eventType``, ids are in ``metadata``, the customer's fields in ``streamParams``, and the
   payload stands at the top of a message. There are no keys and no marks.
2. There is no time, but ``sequenceNumber``: so a frame lies behind the one before it, and what numbers leave out leaves
   room, of a message of the same size each. One that was overtaken goes where it belongs, and one that was there before
   where it was, so that the timeline drops the second.
3. Whether numbers count the messages of a track or of the stream is not documented. A number that comes on both tracks
   shows that it is the former. Until then a hole in the numbers of two tracks is counted, and leaves no room: it is not
   known whose it is.
4. A track that begins later begins beside what the other one has just said.
5. How ``metadata.tracks`` is nested is known from integrations alone. Names as texts are taken too, also one
   alone, as in the verb (``both``); without any, both tracks are there.

Source: https://dev.bandwidth.com/docs/voice/programmable-voice/bxml/startStream
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec

from wavstream.dialects.base import FormatNames, UpgradeRequest
from wavstream.dialects.events import Event, Frame, Outgoing, Reason, StreamStarted
from wavstream.dialects.json_media import IGNORED, JsonMediaDialect
from wavstream.dialects.json_start import (
    JSON_ACCEPTED,
    RATES,
    JsonParameters,
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
from wavstream.dialects.parameters import too_deep
from wavstream.dialects.sequence_places import SequencePlaces
from wavstream.errors import BadParameter
from wavstream.model.audio import Codec, MediaFormat, Track


class _Message(msgspec.Struct, gc=False):
    event: Literal["media"] = msgspec.field(name="eventType")
    payload: bytes | None = None
    track: str | None = None
    number: int | float | str | None = msgspec.field(name="sequenceNumber", default=None)


class _Unnumbered(msgspec.Struct, gc=False):
    payload: bytes
    track: str | None = None


_CODECS = {"audio/pcmu": Codec.PCMU, "pcmu": Codec.PCMU, "audio/x-mulaw": Codec.PCMU}
_ENCODINGS = "audio/PCMU is accepted"
_FIELDS = {
    "tracks": "a list is accepted",
    "tracks.mediaFormat.encoding": _ENCODINGS,
    "tracks.mediaFormat.sampleRate": RATES,
}
_TRACKS = "metadata.tracks"


class _Format(msgspec.Struct, rename="camel"):
    encoding: Text = "audio/PCMU"
    sample_rate: Rate = 8_000


class _Track(msgspec.Struct, rename="camel"):
    name: Text = ""
    media_format: _Format = msgspec.field(default_factory=_Format)


class _Metadata(msgspec.Struct):
    tracks: list[_Track | Text] | Text = []


class BandwidthDialect(JsonMediaDialect):
    """The dialect of one Bandwidth stream."""

    name: ClassVar[str] = "bandwidth"
    playout_ms: ClassVar[int] = 200
    """Bandwidth buffers audio, and drops it on ``clear``."""
    ptime_ms: ClassVar[int | None] = 20
    event_name: ClassVar[str] = "eventType"
    stream_name: ClassVar[str] = "metadata"
    format_names: ClassVar[FormatNames] = FormatNames(
        who="Whoever starts the stream",
        rate="mediaFormat.sampleRate",
        little_endian="no byte order: samples have one byte",
        big_endian="no byte order: samples have one byte",
    )
    decoder: ClassVar[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(_Message)

    __slots__ = ("_places",)

    def __init__(self, request: UpgradeRequest) -> None:
        super().__init__(request)
        self._places = SequencePlaces(1)

    def text(self, message: bytes) -> Sequence[Event]:
        """Return the events of a message; raise BadPayload or BadParameter."""
        decode = self._decode
        try:
            decoded = decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._other(message)
        except RecursionError:
            raise too_deep() from None
        return self._audio(decoded)

    def is_audio(self, message: bytes) -> bool:
        """Return whether this is a whole ``media`` message."""
        try:
            decoded = self._decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        return decoded.payload is not None

    def message(self, payload: bytes) -> Outgoing:
        """Return ``playAudio`` with mu-law."""
        media = {"contentType": "audio/pcmu", "payload": base64.b64encode(payload).decode()}
        return self._outgoing(eventType="playAudio", media=media)

    def clear(self) -> Outgoing | None:
        """Return ``clear``: Bandwidth drops what it has not played."""
        return self._outgoing(eventType="clear")

    def _audio(self, media: Any) -> Sequence[Event]:
        payload = media.payload
        if payload is None:
            return self._lost(Reason.BAD_MEDIA)
        track = self._tracks.get(media.track)
        if track is None:
            return self._hold(media)
        if not payload:
            return ()
        position, reason = self._places.place(track, media.number, len(payload))
        frame = Frame(track, position, len(payload), payload)
        return (frame,) if reason is None else (*IGNORED[reason], frame)

    def _untimed(self, message: Mapping[str, Any]) -> Sequence[Event]:
        try:
            audio = msgspec.convert(dict(message), _Unnumbered)
        except msgspec.ValidationError:
            return self._lost(Reason.BAD_MEDIA)
        return self._audio(_Message("media", audio.payload, audio.track))

    def _is_of_other_stream(self, stream_id: object) -> bool:
        """Return whether the metadata of a message name another stream than the start did."""
        return isinstance(stream_id, dict) and super()._is_of_other_stream(stream_id.get("streamId"))

    def _read_start(self, fields: Mapping[str, Any]) -> StreamStarted:
        request = self._request
        metadata = read_fields(fields, "metadata", _Metadata, _FIELDS)
        told = fields["metadata"]
        custom = custom_fields(fields.get("streamParams"))
        parameters = merged_parameters(request, told, custom, JsonParameters, JSON_ACCEPTED)
        tracks, form = _read_tracks(metadata.tracks)
        self._places = SequencePlaces(len(tracks))
        ids = named_ids(told, ("callId", "streamId", "accountId", "streamName"))
        said = Said(
            ids=ids,
            call_id=ids.get("callId"),
            leg_id=ids.get("callId"),
            stream_id=ids.get("streamId"),
            form=form,
            tracks=tracks,
            custom=custom,
        )
        return started(request, said, parameters, JSON_ACCEPTED)


def _read_tracks(named: Sequence[_Track | str] | str) -> tuple[tuple[Track, ...], MediaFormat]:
    """Return the tracks, and the format that they have in common (rule 5); raise BadParameter."""
    if isinstance(named, str):
        named = [named]
    names = [track if isinstance(track, str) else track.name for track in named]
    tracks = read_tracks([name for name in names if name], _TRACKS) if any(names) else tuple(Track)
    formats = {
        (
            read_encoding(form.encoding, _CODECS, f"{_TRACKS}.mediaFormat.encoding", accepted=_ENCODINGS)[0],
            form.sample_rate,
        )
        for form in (track.media_format for track in named if isinstance(track, _Track))
    }
    if len(formats) > 1:
        raise BadParameter(_TRACKS, "one format of all tracks is accepted")
    return tracks, MediaFormat(codec=Codec.PCMU, rate_hz=next((rate_hz for _, rate_hz in formats), 8_000))
