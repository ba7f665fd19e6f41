"""Twilio Media Streams and their clones; ``json_media`` has the rules of the family. Twilio's own:

1. The leg of a call is its ``callSid``, so parallel streams of one call are one leg; their ``streamSid`` tells them
   apart.
2. Twilio complains of any message to a one-way stream (error 31924), and what it is sent must name the stream. So a
   stream takes audio only if its custom parameter ``two_way`` says so, and its start has a ``streamSid``.
3. Twilio sends ``start`` first. Audio before it is not Twilio's, and is ignored.

Clones (Fonoster, Kazoo, Smartflo, ``mod_audio_fork_twilio``) have ids of any form, times of day, numbers for texts,
``from`` and ``to`` in the start, and other codecs under several names.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import msgspec

from wavstream.dialects.base import FormatNames, UpgradeRequest
from wavstream.dialects.events import Outgoing, StreamStarted
from wavstream.dialects.json_media import JsonMediaDialect, Media
from wavstream.dialects.json_start import (
    ORDERED_ACCEPTED,
    RATES,
    TEXT,
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
from wavstream.dialects.parameters import ordered
from wavstream.model.audio import Codec, MediaFormat


class _Message(msgspec.Struct, gc=False):
    event: Literal["media"]
    stream_id: str | int | None = msgspec.field(name="streamSid", default=None)
    media: Media | None = None


_CODECS = {
    "audio/x-mulaw": Codec.PCMU,
    "audio/x-alaw": Codec.PCMA,
    "audio/x-l16": Codec.L16,
    "audio/l16": Codec.L16,  # Kazoo's
    "audio/pcmu": Codec.PCMU,
    "audio/pcma": Codec.PCMA,
    "pcmu": Codec.PCMU,
    "pcma": Codec.PCMA,
}
_NAMES = "audio/x-mulaw, audio/x-alaw, audio/x-l16"
_FIELDS = {
    "streamSid": TEXT,
    "callSid": TEXT,
    "accountSid": TEXT,
    "tracks": "inbound and outbound are accepted",
    "mediaFormat.encoding": f"one of {_NAMES} is accepted",
    "mediaFormat.sampleRate": RATES,
    "mediaFormat.channels": "one channel a track is accepted",
}
"""The accepted values of each field, for a person; the other fields are objects."""


class _Format(msgspec.Struct, rename="camel"):
    encoding: Text = "audio/x-mulaw"
    sample_rate: Rate | None = None
    channels: OneChannel = 1


class _Start(msgspec.Struct, rename="camel"):
    stream_sid: Text | int = ""
    call_sid: Text | int = ""
    account_sid: Text | int = ""
    tracks: list[Text] = []
    custom_parameters: Any = None
    """An object; a list of names and values, or an empty one, as PHP writes an object without fields."""
    media_format: _Format = msgspec.field(default_factory=_Format)


class TwilioDialect(JsonMediaDialect):
    """The dialect of one Twilio stream."""

    name: ClassVar[str] = "twilio"
    playout_ms: ClassVar[int] = 200
    """Twilio buffers audio, and drops it on ``clear``."""
    ptime_ms: ClassVar[int | None] = 20
    stream_name: ClassVar[str] = "streamSid"
    holds_early_media: ClassVar[bool] = False  # rule 3
    format_names: ClassVar[FormatNames] = FormatNames(
        who="Whoever sends the stream's start",
        rate="mediaFormat.sampleRate",
        little_endian="the custom parameter byteorder=little",
        big_endian="the custom parameter byteorder=big",
        codec="mediaFormat.encoding",
        codecs={
            Codec.PCMU: "audio/x-mulaw",
            Codec.PCMA: "audio/x-alaw",
            Codec.L16: "audio/x-l16",
            Codec.L16BE: "audio/x-l16",
        },
    )
    decoder: ClassVar[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(_Message)

    __slots__ = ()

    def message(self, payload: bytes) -> Outgoing:
        """Return ``media`` with audio of any length; Twilio plays it behind what it has already."""
        payload_text = base64.b64encode(payload).decode()
        return self._outgoing(event="media", streamSid=self._stream_id, media={"payload": payload_text})

    def clear(self) -> Outgoing | None:
        """Return ``clear``: Twilio drops what it has not played."""
        return self._outgoing(event="clear", streamSid=self._stream_id)

    def _read_start(self, fields: Mapping[str, Any]) -> StreamStarted:
        start = read_fields(fields, "start", _Start, _FIELDS)
        said = _said(fields, start, self._request)
        parameters = merged_parameters(self._request, fields["start"], said.custom, OrderedParameters, ORDERED_ACCEPTED)
        form = MediaFormat(codec=ordered(said.form.codec, parameters.byteorder), rate_hz=said.form.rate_hz)
        stream = started(self._request, said._replace(form=form), parameters, ORDERED_ACCEPTED)
        can_be_sent = stream.accepts_audio and stream.stream_id is not None  # rule 2
        return msgspec.structs.replace(stream, accepts_audio=can_be_sent)


def _said(message: Mapping[str, Any], start: _Start, request: UpgradeRequest) -> Said:
    codec, rate_hz = read_encoding(
        start.media_format.encoding, _CODECS, "start.mediaFormat.encoding", accepted=_FIELDS["mediaFormat.encoding"]
    )
    assert isinstance(codec, Codec)
    stream_sid = start.stream_sid or message.get("streamSid")
    sids = {"callSid": start.call_sid, "streamSid": stream_sid, "accountSid": start.account_sid}
    ids = named_ids(sids, tuple(sids))
    return Said(
        ids=ids,
        call_id=ids.get("callSid"),
        leg_id=ids.get("callSid"),  # rule 1
        stream_id=ids.get("streamSid"),
        form=MediaFormat(codec=codec, rate_hz=start.media_format.sample_rate or rate_hz or 8_000),
        tracks=read_tracks(start.tracks),
        custom=custom_fields(start.custom_parameters),
    )
