"""The start of a stream whose audio is in JSON: what vendors say in it, under whatever names, and what follows.

1. What the customer set wins over what the vendor tells: custom parameters, then the query, then the vendor's own
   fields (such as ``from``), then the route's defaults.
2. The format must be right, so a wrong one is refused. A fact of the call that makes no sense (a number without digits,
   an id that is null) is left out. So is a custom parameter that only happens to have a name of ours: ``direction`` is
   ``outbound-api`` where an application passes on what Twilio told it, a number of a telephone may be a number.
3. Ids of the vendor come first among the ids of the call, which has room for so many; a secret is never one.
4. One-way streams and two-way ones look the same on the wire, and vendors complain of any message to a one-way stream.
   So a stream is two-way only if its parameter ``two_way`` says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec

from wavstream.dialects.base import UpgradeRequest
from wavstream.dialects.events import StreamStarted
from wavstream.dialects.identity import TRACKS, identify
from wavstream.dialects.parameters import (
    ACCEPTED,
    BYTE_ORDERS,
    MAX_FIELDS,
    ByteOrder,
    StreamParameters,
    customer_ids,
    first_fields,
    read_parameters,
)
from wavstream.errors import BadParameter
from wavstream.model.audio import MAX_RATE_HZ, MIN_RATE_HZ, Codec, MediaFormat, PacketCodec, Track, TrackClock
from wavstream.model.ids import is_customer_id

AnyCodec = Codec | PacketCodec
Text = Annotated[str, msgspec.Meta(max_length=256)]
Rate = Annotated[int, msgspec.Meta(ge=MIN_RATE_HZ, le=MAX_RATE_HZ)]
OneChannel = Annotated[int, msgspec.Meta(ge=1, le=1)]
RATES = f"a whole number of {MIN_RATE_HZ} to {MAX_RATE_HZ} is accepted"
TEXT = "text of at most 256 characters is accepted"
_TRACKS = "inbound and outbound are accepted"
_PLACE = re.compile(r"\$\.([\w.]+)")

AnyStruct = TypeVar("AnyStruct", bound=msgspec.Struct)


class JsonParameters(StreamParameters, frozen=True, kw_only=True):
    """What may be set for a stream of every vendor of this family."""

    two_way: bool = False


class OrderedParameters(JsonParameters, frozen=True, kw_only=True):
    """The same for a vendor that may send 16-bit samples."""

    byteorder: ByteOrder = "little"


JSON_ACCEPTED = {**ACCEPTED, "two_way": "0 or 1"}
ORDERED_ACCEPTED = {**JSON_ACCEPTED, "byteorder": BYTE_ORDERS}
_FACTS = frozenset(("from", "to", "direction", "track"))
_BOTH = frozenset(("both", "both_tracks"))
_NO_CALL_IDS = frozenset(("session_id", "leg", "track", "app", "token"))


class Said(NamedTuple):
    """What a start says, in our words."""

    ids: Mapping[str, str]
    """The vendor's ids of the call, by its names for them."""
    call_id: str | None
    """The session's id, where nobody names one; None: the start has none."""
    leg_id: str | None
    stream_id: str | None
    form: MediaFormat
    tracks: tuple[Track, ...]
    custom: Mapping[str, Any]
    """The customer's own fields."""
    clock: TrackClock = TrackClock.TIMESTAMPED
    playback: MediaFormat | None = None
    wire_codec: str | None = None
    """Of packets that were decoded to the format."""


def started(request: UpgradeRequest, said: Said, parameters: JsonParameters, known: Mapping[str, str]) -> StreamStarted:
    """Return the start of a stream; raise BadParameter. ``known``: the parameters that the dialect has (rule 3)."""
    where = identify(request, said.custom, call_id=said.call_id or said.stream_id, leg_id=said.leg_id)
    ids = {**said.ids, **customer_ids(said.custom, {*known, *_NO_CALL_IDS, *said.ids})}
    return StreamStarted(
        session_id=where.session_id,
        leg=where.leg,
        format=said.form,
        clock=said.clock,
        tracks=said.tracks,
        channel=parameters.channel,
        call=replace(parameters.call, vendor_ids=ids),
        record=parameters.record,
        keepalive=parameters.keepalive,
        accepts_audio=parameters.two_way,  # rule 4
        playback=said.playback if parameters.two_way else None,
        wire_codec=said.wire_codec,
        stream_id=said.stream_id,
    )


AnyParameters = TypeVar("AnyParameters", bound=StreamParameters)


def merged_parameters(
    request: UpgradeRequest,
    told: Mapping[str, Any],
    custom: Mapping[str, Any],
    kind: type[AnyParameters],
    accepted: Mapping[str, str],
) -> AnyParameters:
    """Return the parameters of a stream (rule 1); raise BadParameter. ``told``: the vendor's own fields."""
    facts = {name: told[name] for name in ("from", "to") if _is_text(told.get(name))}
    if told.get("direction") in ("inbound", "outbound"):
        facts["direction"] = told["direction"]
    return read_parameters({**request.defaults, **facts, **request.query, **_sensible(custom)}, kind, accepted)


def custom_track(custom: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the track among custom parameters, unless the customer means something else by the word."""
    track = custom.get("track")
    return {"track": track} if isinstance(track, str) and (track in TRACKS or track in _BOTH) else {}


def _sensible(custom: Mapping[str, Any]) -> dict[str, Any]:
    """Return the customer's fields without the facts of the call that make no sense (rule 2)."""
    kept = {name: value for name, value in custom.items() if name not in _FACTS}
    for name in ("from", "to"):
        if number := id_in(custom, name):
            kept[name] = number
    direction = custom.get("direction")
    if isinstance(direction, str) and (way := direction.lower().partition("-")[0]) in ("inbound", "outbound"):
        kept["direction"] = way  # Twilio's are inbound, outbound-api and outbound-dial
    return {**kept, **custom_track(custom)}


def read_fields(fields: Mapping[str, Any], name: str, kind: type[AnyStruct], accepted: Mapping[str, str]) -> AnyStruct:
    """Return an object of a message; raise BadParameter, which says what is accepted in its place.

    Fields that are null count as left out. ``accepted``: what is, by the place below the object; else an object is.
    """
    part = fields.get(name)
    try:
        return msgspec.convert(_without_nulls(part) if isinstance(part, dict) else part, kind, strict=False)
    except msgspec.ValidationError as error:
        found = _PLACE.search(str(error))
        place = found.group(1) if found else ""
        raise BadParameter(f"{name}.{place}".rstrip("."), accepted.get(place, "an object is accepted")) from error


def named_ids(fields: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """Return the ids that the fields have under these names, in this order; what cannot be one is left out (rule 2)."""
    found = {name: id_in(fields, name) for name in names}
    return {name: value for name, value in found.items() if value}


def id_in(fields: Mapping[str, Any], name: str) -> str | None:
    """Return an id, which may be a number; None: there is none."""
    value = fields.get(name)
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return text if is_customer_id(text) else None


def custom_fields(value: object) -> Mapping[str, Any]:
    """Return the customer's fields, which are an object, or a list of objects with ``name`` and ``value``."""
    if isinstance(value, list):
        pairs = [each for each in value[:256] if isinstance(each, dict)]
        value = {each["name"]: each.get("value") for each in pairs if isinstance(each.get("name"), str)}
    fields = first_fields(value) if isinstance(value, dict) else {}
    return {name: each for name, each in fields.items() if each is not None}


def read_tracks(names: Sequence[str], field: str = "start.tracks") -> tuple[Track, ...]:
    """Return the tracks in the order given; without a name it is the inbound one, as in a two-way stream.

    ``both``, which is what the request for a stream has, is both.
    """
    if not _BOTH.isdisjoint(names):
        return tuple(Track)
    if any(name not in TRACKS for name in names):
        raise BadParameter(field, _TRACKS)
    return tuple(dict.fromkeys(TRACKS[name] for name in names)) or (Track.INBOUND,)


def read_encoding(
    text: str, codecs: Mapping[str, AnyCodec], field: str, *, accepted: str
) -> tuple[AnyCodec, int | None]:
    """Return the codec of an encoding such as ``audio/x-l16;rate=16000``, and its rate; raise BadParameter."""
    name, *parameters = text.lower().replace(" ", "").split(";")
    codec = codecs.get(name)
    if codec is None:
        raise BadParameter(field, accepted)
    for parameter in parameters:
        label, _, value = parameter.partition("=")
        if label == "rate":
            # The length first: int() takes long digits slowly.
            rate_hz = int(value) if value.isdecimal() and len(value) <= 6 else 0
            if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
                raise BadParameter(field, f"in rate, {RATES}")
            return codec, rate_hz
    return codec, None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 256


def _without_nulls(part: Mapping[str, Any], depth: int = 3) -> dict[str, Any]:
    """Return the fields that are not null, also those of the objects in it, and of those in its lists."""
    return {name: _bare(value, depth) for name, value in first_fields(part).items() if value is not None}


def _bare(value: Any, depth: int) -> Any:
    if not depth:
        return value
    if isinstance(value, dict):
        return _without_nulls(value, depth - 1)
    if isinstance(value, list):
        return [_bare(each, depth - 1) for each in value[:MAX_FIELDS] if each is not None]
    return value
