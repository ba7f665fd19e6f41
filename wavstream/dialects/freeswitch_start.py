"""How a FreeSWITCH stream introduces itself: from its URL, its metadata, or not at all.

- The URL wins. It is written by the same hand as the command that starts the stream, and reaches us unchanged;
  metadata lose backslashes in FreeSWITCH's argument splitter, and are cut at 8,191 bytes.
- The metadata are the application's own, so a key of them that happens to have one of our names is passed over if its
  value makes no sense. Not so the format: audio at the wrong rate is of no use.
- Everybody has another name for the rate and the call, so several are known, in any case and with or without ``_``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

import msgspec

from wavstream.dialects.base import UpgradeRequest
from wavstream.dialects.events import StreamStarted
from wavstream.dialects.parameters import ACCEPTED, StreamParameters, customer_ids, read_id, read_parameters
from wavstream.errors import BadParameter
from wavstream.model.audio import MAX_RATE_HZ, MIN_RATE_HZ, MediaFormat, Track, TrackClock
from wavstream.model.call import CallFacts
from wavstream.model.ids import is_customer_id

PLAYBACK_RATES_HZ = (8_000, 16_000, 24_000, 32_000, 48_000)
"""That both modules play."""

_Rate = Annotated[int, msgspec.Meta(ge=MIN_RATE_HZ, le=MAX_RATE_HZ)]


class _Parameters(StreamParameters, frozen=True, kw_only=True):
    rate: _Rate = MIN_RATE_HZ
    mix: Literal["mono", "mixed", "stereo"] | None = None
    channels: Literal[1, 2] | None = None
    clock: Literal["contiguous", "arrival"] = "contiguous"
    two_way: bool = False
    return_rate: _Rate | None = None


_RATE = f"a whole number of hertz, {MIN_RATE_HZ} to {MAX_RATE_HZ}, or 8k, 16k"
_FORMAT = {"rate": _RATE, "mix": "mono, mixed or stereo", "channels": "1 or 2"}
_ACCEPTED = {
    **ACCEPTED,
    **_FORMAT,
    "clock": "contiguous or arrival",
    "two_way": "0 or 1",
    "return_rate": f"one of {', '.join(map(str, PLAYBACK_RATES_HZ))}",
}
_OTHER_NAMES = {
    "samplerate": "rate",
    "mixtype": "mix",
    "twoway": "two_way",
    "returnrate": "return_rate",
    "sessionid": "session_id",
}
_SESSION = ("session_id", "callsid", "callid", "call", "calluuid", "uuid")
"""Names of the session's id, the surest first."""
_THOUSANDS = re.compile(r"(\d{1,2})k")
_NOT_OF_THE_CALL = frozenset((*_ACCEPTED, "session_id", "leg", "app", "token"))


class StreamMetadata:
    """What one stream is, as far as it has been said."""

    def __init__(self, request: UpgradeRequest) -> None:
        self._request = request
        self._query = _named(request.query)
        self._format = MediaFormat()
        self.playback = MediaFormat()
        """What the peer is sent, if it takes audio."""

    @property
    def url_names_session(self) -> bool:
        """Whether nothing else is needed to know whose stream it is."""
        return self._request.session_id is not None or any(name in self._query for name in _SESSION)

    @property
    def url_says_all(self) -> bool:
        """Whether there is nothing that metadata could add but what is nice to know."""
        return self.url_names_session and "rate" in self._query

    def read(self, metadata: Mapping[str, Any]) -> StreamStarted:
        """The stream; raises BadParameter."""
        parameters = read_parameters(self._merged(metadata), _Parameters, _ACCEPTED)
        channels = _channels(parameters)
        self._format = MediaFormat(rate_hz=parameters.rate, channels=channels)
        self.playback = MediaFormat(rate_hz=_playback_rate(parameters))
        return StreamStarted(
            session_id=self._request.session_id or self._session_id(metadata),
            leg=self._request.leg or read_id(self._query, "leg") or _id(metadata.get("leg")),
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
        """What metadata tell of the call."""
        facts = read_parameters(_sensible(_named(metadata)), _Parameters, _ACCEPTED).call
        return replace(facts, vendor_ids=_call_ids(metadata))

    def is_contradicted_by(self, metadata: Mapping[str, Any]) -> bool:
        """Whether metadata name another format than the stream was taken to have."""
        named = _named(metadata)
        said = {name: named[name] for name in _FORMAT if name in named}
        if not said:
            return False
        try:
            parameters = read_parameters(said, _Parameters, _ACCEPTED)
            channels = _channels(parameters)
        except BadParameter:
            return True
        says_channels = "mix" in said or "channels" in said
        return ("rate" in said and parameters.rate != self._format.rate_hz) or (
            says_channels and channels != self._format.channels
        )

    def _merged(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        named = _named(metadata)
        if not self._query.keys().isdisjoint(("mix", "channels")):
            named = {name: value for name, value in named.items() if name not in ("mix", "channels")}
        form = {name: named[name] for name in _FORMAT if name in named}
        return {**_sensible(named), **form, **self._query}

    def _session_id(self, metadata: Mapping[str, Any]) -> str | None:
        for name in _SESSION:
            if name in self._query:
                return read_id(self._query, name)
        named = _named(metadata)
        return next((found for name in _SESSION if (found := _id(named.get(name)))), None)


def _named(fields: Mapping[str, Any]) -> dict[str, Any]:
    """By the names that we have for them; ``8k`` is 8000."""
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
    """Parameters among metadata whose value can be one, without those of the format."""
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
    """An id in metadata, where it may be a number."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return text if is_customer_id(text) else None
