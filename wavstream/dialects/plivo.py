"""Plivo's audio streaming, and its clones (Vobiz); ``json_media`` has the rules of the family. Plivo's own:

1. There is no ``connected``, and no ``stop``: the close is the end. A ``stop`` is taken all the same.
2. Timestamps are milliseconds since 1970, mostly as texts; numbers are numbers or texts.
3. The customer's own fields are one text, ``extra_headers``: ``k=v;k2=v2``, ``{X-PH-k: v}``, ``{}`` or JSON, by the
   version of the platform. Names there may have no ``_``, so ``two-way`` is ``two_way``.
4. What the audio is without a ``mediaFormat`` is documented in two ways; mu-law is taken then. 16-bit samples are
   little-endian in practice, which is not documented.
5. A two-way stream is one that was opened with ``bidirectional="true"``, and must say so (``two_way``).

Sources: https://www.plivo.com/docs/voice-agents/audio-streaming/concepts/audio-streaming-reference and
https://docs.plivo.com/docs/voice/xml/audiostream
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec

from wavstream.dialects.base import FormatNames, UpgradeRequest
from wavstream.dialects.events import Event, Outgoing, StreamStarted
from wavstream.dialects.json_media import JsonMediaDialect, Media, marked
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
from wavstream.dialects.parameters import MAX_FIELDS, ordered
from wavstream.model.audio import Codec, MediaFormat


class _Message(msgspec.Struct, gc=False):
    event: Literal["media"]
    stream_id: str | int | None = msgspec.field(name="streamId", default=None)
    media: Media | None = None


_CODECS = {"audio/x-mulaw": Codec.PCMU, "audio/x-l16": Codec.L16}
_ENCODINGS = f"one of {', '.join(_CODECS)} is accepted"
_FIELDS = {
    "tracks": "inbound and outbound are accepted",
    "mediaFormat.encoding": _ENCODINGS,
    "mediaFormat.sampleRate": RATES,
    "mediaFormat.channels": "one channel a track is accepted",
}
_BETWEEN, _WITHIN = re.compile("[;,]"), re.compile("[=:]")
_PREFIX = "x-ph-"
_OURS = frozenset((*ORDERED_ACCEPTED, "session_id", "leg", "app", "token"))

_decode_fields = msgspec.json.Decoder(dict[str, Any]).decode


class _Format(msgspec.Struct, rename="camel"):
    encoding: Text = "audio/x-mulaw"
    sample_rate: Rate | None = None
    channels: OneChannel = 1


class _Start(msgspec.Struct, rename="camel"):
    tracks: list[Text] = []
    media_format: _Format = msgspec.field(default_factory=_Format)


class PlivoDialect(JsonMediaDialect):
    """The dialect of one Plivo stream."""

    name: ClassVar[str] = "plivo"
    playout_ms: ClassVar[int] = 200
    """Plivo buffers audio, and drops it on ``clearAudio``."""
    ptime_ms: ClassVar[int | None] = 20
    stream_name: ClassVar[str] = "streamId"
    silent_events: ClassVar[frozenset[str]] = frozenset(("connected", "clearedAudio"))
    format_names: ClassVar[FormatNames] = FormatNames(
        who="Whoever answers with the XML of the stream",
        rate="contentType rate",
        little_endian="byteorder=little in extraHeaders",
        big_endian="byteorder=big in extraHeaders",
        codec="contentType",
        codecs={codec: name for name, codec in _CODECS.items()} | {Codec.L16BE: "audio/x-l16"},
    )
    decoder: ClassVar[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(_Message)

    __slots__ = ("_form",)

    def __init__(self, request: UpgradeRequest) -> None:
        super().__init__(request)
        self._form = MediaFormat(codec=Codec.PCMU)

    def message(self, payload: bytes) -> Outgoing:
        """Return ``playAudio``, which names the stream's own format."""
        media = {
            "contentType": "audio/x-mulaw" if self._form.codec is Codec.PCMU else "audio/x-l16",
            "sampleRate": self._form.rate_hz,
            "payload": base64.b64encode(payload).decode(),
        }
        return self._outgoing(event="playAudio", media=media)

    def clear(self) -> Outgoing | None:
        """Return ``clearAudio``: Plivo drops what it has not played."""
        return self._outgoing(event="clearAudio", streamId=self._stream_id)

    def _vendor_event(self, event: str, fields: Mapping[str, Any]) -> Sequence[Event]:
        """Return the mark of a ``playedStream``, which says that playback has come to a checkpoint."""
        if event != "playedStream" or not self._tracks:
            return super()._vendor_event(event, fields)
        name = fields.get("name")
        return marked(name if isinstance(name, str) else "")

    def _read_start(self, fields: Mapping[str, Any]) -> StreamStarted:
        request = self._request
        start = read_fields(fields, "start", _Start, _FIELDS)
        told = fields["start"]
        custom = _extra_headers(fields.get("extra_headers") or told.get("extra_headers") or fields.get("extraHeaders"))
        parameters = merged_parameters(request, told, custom, OrderedParameters, ORDERED_ACCEPTED)
        form = start.media_format
        codec, rate_hz = read_encoding(form.encoding, _CODECS, "start.mediaFormat.encoding", accepted=_ENCODINGS)
        assert isinstance(codec, Codec)
        self._form = MediaFormat(
            codec=ordered(codec, parameters.byteorder), rate_hz=form.sample_rate or rate_hz or 8_000
        )
        stream_id = told.get("streamId") or fields.get("streamId")
        ids = named_ids({**told, "streamId": stream_id}, ("callId", "streamId", "accountId"))
        said = Said(
            ids=ids,
            call_id=ids.get("callId"),
            leg_id=ids.get("callId"),
            stream_id=ids.get("streamId"),
            form=self._form,
            tracks=read_tracks(start.tracks),
            custom=custom,
        )
        return started(request, said, parameters, ORDERED_ACCEPTED)


def _extra_headers(text: object) -> Mapping[str, Any]:
    """Return the customer's fields, in whichever form (rule 3)."""
    if isinstance(text, str):
        try:
            text = _decode_fields(text)
        except (msgspec.DecodeError, RecursionError):
            text = _pairs(text)
    return {_plain(name): value for name, value in custom_fields(text).items()}


def _pairs(text: object) -> dict[str, str]:
    parts = _BETWEEN.split(str(text).strip().removeprefix("{").removesuffix("}"), maxsplit=MAX_FIELDS)
    pairs = [_WITHIN.split(part, maxsplit=1) for part in parts[:MAX_FIELDS]]
    return {pair[0].strip(): pair[1].strip() for pair in pairs if len(pair) == 2 and pair[0].strip()}


def _plain(name: str) -> str:
    """Return a name without Plivo's prefix, as ours if it is one of ours."""
    bare = name[len(_PREFIX) :] if name.lower().startswith(_PREFIX) else name
    ours = bare.lower().replace("-", "_")
    return ours if ours in _OURS else bare
