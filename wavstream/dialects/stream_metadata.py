"""What a stream of samples is, from its URL and from metadata that an application has put into it.

1. The URL wins. It is written together with the command that starts the stream, and arrives unchanged; metadata lose
   backslashes in FreeSWITCH's argument splitter, and are cut at 8,191 bytes. What the media server itself says of the
   audio (``measured``) wins over both.
2. The metadata belong to the application. If a key happens to have one of our names and its value makes no sense, it is
   ignored. A wrong format is refused all the same: audio at the wrong rate is of no use.
3. Applications have different names for the rate and the call, so several are accepted, in any case and with or without
   ``_``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

import msgspec

from wavstream.dialects.base import UpgradeRequest
from wavstream.dialects.events import StreamStarted
from wavstream.dialects.identity import identify
from wavstream.dialects.parameters import (
    ACCEPTED,
    BYTE_ORDERS,
    ByteOrder,
    StreamParameters,
    customer_ids,
    ordered,
    read_parameters,
)
from wavstream.errors import BadParameter
from wavstream.model.audio import MAX_RATE_HZ, MIN_RATE_HZ, Codec, MediaFormat, Track, TrackClock
from wavstream.model.call import CallFacts
from wavstream.model.ids import is_customer_id

PLAYBACK_RATES_HZ = (8_000, 16_000, 24_000, 32_000, 48_000)
"""Rates that FreeSWITCH's modules play."""

_Rate = Annotated[int, msgspec.Meta(ge=MIN_RATE_HZ, le=MAX_RATE_HZ)]


class _Parameters(StreamParameters, frozen=True, kw_only=True):
    rate: _Rate = MIN_RATE_HZ
    mix: Literal["mono", "mixed", "stereo"] | None = None
    channels: Literal[1, 2] | None = None
    byteorder: ByteOrder = "little"
    clock: Literal["contiguous", "arrival"] = "contiguous"
    two_way: bool = False
    return_rate: _Rate | None = None
    return_as: Literal["stream", "sounds"] = "stream"


_RATE = f"a whole number of hertz, {MIN_RATE_HZ} to {MAX_RATE_HZ}, or 8k, 16k"
_FORMAT = {"rate": _RATE, "mix": "mono, mixed or stereo", "channels": "1 or 2"}
_ACCEPTED = {
    **ACCEPTED,
    **_FORMAT,
    "byteorder": BYTE_ORDERS,
    "clock": "contiguous or arrival",
    "two_way": "0 or 1",
    "return_rate": f"one of {', '.join(map(str, PLAYBACK_RATES_HZ))}",
    "return_as": "stream or sounds",
}
_OTHER_NAMES = {
    "samplerate": "rate",
    "mixtype": "mix",
    "twoway": "two_way",
    "returnrate": "return_rate",
    "returnas": "return_as",
    "sessionid": "session_id",
}
_SESSION = ("session_id", "callsid", "callid", "call", "calluuid", "uuid")
"""Names of the session's id, the most specific first."""
_THOUSANDS = re.compile(r"(\d{1,2})k")
_NOT_OF_THE_CALL = frozenset((*_ACCEPTED, "session_id", "leg", "app", "token"))


class StreamMetadata:
    """The URL and the metadata of one stream, and what follows from them."""

    def __init__(self, request: UpgradeRequest) -> None:
        self._query = _named(request.query)
        self._request = msgspec.structs.replace(request, query=self._query)
        self._format = MediaFormat()
        self.playback = MediaFormat()
        """The format for audio to the peer, if it takes audio."""
        self.returns_sounds = False
        """Whether the peer takes sounds as a whole, and no stream of samples."""

    @property
    def url_names_session(self) -> bool:
        """Whether the URL alone names the session."""
        return self._request.session_id is not None or any(name in self._query for name in _SESSION)

    @property
    def url_says_all(self) -> bool:
        """Whether the URL has everything that is needed, so that metadata can only add facts of the call."""
        return self.url_names_session and "rate" in self._query

    @property
    def url_names_rate(self) -> bool:
        """Whether the URL or the route names the rate."""
        return "rate" in self._query or "rate" in _named(self._request.defaults)

    def read(self, metadata: Mapping[str, Any], measured: Mapping[str, Any] = {}) -> StreamStarted:
        """Return the stream's start, from the URL and these metadata; raise BadParameter.

        ``measured``: parameters that the media server itself says, and that nothing else can change (rule 1).
        """
        parameters = read_parameters(self._merged(metadata, measured), _Parameters, _ACCEPTED)
        channels = _channels(parameters)
        codec = ordered(Codec.L16, parameters.byteorder)  # both modules send and play samples in their host's order
        self._format = MediaFormat(codec=codec, rate_hz=parameters.rate, channels=channels)
        self.playback = MediaFormat(codec=codec, rate_hz=_playback_rate(parameters))
        self.returns_sounds = parameters.return_as == "sounds"
        named = _named(metadata)
        said = {name: found for name in (*_SESSION, "leg") if (found := _id(named.get(name)))}
        where = identify(self._request, said, session_names=_SESSION)
        return StreamStarted(
            session_id=where.session_id,
            leg=where.leg,
            format=self._format,
            clock=TrackClock(parameters.clock),
            tracks=(Track.INBOUND, Track.OUTBOUND)[:channels],
            channel=parameters.channel,
            call=replace(parameters.call, vendor_ids=_call_ids(metadata)),
            record=parameters.record,
            keepalive=parameters.keepalive,
            accepts_audio=parameters.two_way,
            playback=self.playback if parameters.two_way else None,
            returns_audio=parameters.two_way and (channels == 2 or parameters.mix == "mixed"),
        )

    def call(self, metadata: Mapping[str, Any]) -> CallFacts:
        """Return the facts of the call in metadata."""
        facts = read_parameters(_sensible(_named(metadata)), _Parameters, _ACCEPTED).call
        return replace(facts, vendor_ids=_call_ids(metadata))

    def is_contradicted_by(self, metadata: Mapping[str, Any]) -> bool:
        """Return whether metadata name another format than the stream was started with."""
        named = _named(metadata)
        form = {name: named[name] for name in _FORMAT if name in named}
        if not form:
            return False
        try:
            parameters = read_parameters(form, _Parameters, _ACCEPTED)
            channels = _channels(parameters)
        except BadParameter:
            return True
        names_channels = "mix" in form or "channels" in form
        return ("rate" in form and parameters.rate != self._format.rate_hz) or (
            names_channels and channels != self._format.channels
        )

    def _merged(self, metadata: Mapping[str, Any], measured: Mapping[str, Any]) -> dict[str, Any]:
        named = _named(metadata)
        if not self._query.keys().isdisjoint(("mix", "channels")):
            named = {name: value for name, value in named.items() if name not in ("mix", "channels")}
        form = {name: named[name] for name in _FORMAT if name in named}
        merged = {**_named(self._request.defaults), **_sensible(named), **form, **self._query, **measured}  # rule 1
        if "channels" in measured and (measured["channels"] != 1 or merged.get("mix") != "mixed"):
            merged.pop("mix", None)
        return merged


def _named(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields under our names (rule 3); ``8k`` becomes 8000."""
    named: dict[str, Any] = {}
    for name, value in fields.items():
        known = _our_name(name)
        named.setdefault(known, _in_hertz(value) if known in ("rate", "return_rate") else value)
    return named


def _our_name(name: str) -> str:
    plain = name.lower().replace("_", "").replace("-", "")
    return _OTHER_NAMES.get(plain, plain)


def _call_ids(metadata: Mapping[str, Any]) -> dict[str, str]:
    return customer_ids(metadata, {name for name in metadata if _our_name(name) in _NOT_OF_THE_CALL})


def _in_hertz(value: object) -> object:
    thousands = _THOUSANDS.fullmatch(value) if isinstance(value, str) else None
    return int(thousands[1]) * 1000 if thousands else value


def _sensible(named: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters whose value is valid, without those of the format (rule 2)."""
    kept = {}
    for name in _ACCEPTED.keys() & named.keys() - _FORMAT.keys():
        try:
            read_parameters({name: named[name]}, _Parameters, _ACCEPTED)
        except BadParameter:
            continue
        kept[name] = named[name]
    return kept


def _channels(parameters: _Parameters) -> int:
    if parameters.mix is None:
        return parameters.channels or 1
    channels = 2 if parameters.mix == "stereo" else 1
    if parameters.channels not in (None, channels):
        raise BadParameter("channels", f"{parameters.mix} has {channels}")
    return channels


def _playback_rate(parameters: _Parameters) -> int:
    rate_hz = parameters.return_rate or parameters.rate
    if rate_hz in PLAYBACK_RATES_HZ:
        return rate_hz
    if parameters.two_way:
        raise BadParameter("return_rate", f"{rate_hz} is not accepted; {_ACCEPTED['return_rate']} is")
    return MIN_RATE_HZ


def _id(value: object) -> str | None:
    """Return an id of the metadata, where it may be a number."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return text if is_customer_id(text) else None
