"""What AudioHook's ``open`` says: whose audio comes, in which form, or that nothing comes because it is a probe.

1. Of the forms that are offered the one with both channels is taken, else the customer's (``external``), else the
   agent's; of equal ones the first. Every form is linear or mu-law, one or two interleaved channels.
2. A conversation whose id is all zeros is no call: Genesys Cloud probes a new integration so, and expects an answer.
3. The conversation is the session, and the participant its leg, unless the URL says otherwise (``identity``).

Source: ``purecloudlabs/audiohook-reference-implementation``, ``app/audiohook/src/protocol/message.ts``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

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
    first_fields,
    ordered,
    read_parameters,
)
from wavstream.errors import BadParameter
from wavstream.model.audio import MAX_RATE_HZ, MIN_RATE_HZ, Codec, MediaFormat, Track, TrackClock
from wavstream.model.ids import is_customer_id

FORMATS: Mapping[str, Codec] = {"PCMU": Codec.PCMU, "L16": Codec.L16}
SESSION_HEADER, ORGANIZATION_HEADER = "audiohook-session-id", "audiohook-organization-id"
_TRACKS = {"external": Track.INBOUND, "internal": Track.OUTBOUND}
"""The customer is the party of the leg; the agent is what it hears."""
_MAX_OFFERS = 64
"""Forms that are looked at; Genesys Cloud offers six at most."""
_MAX_TEXT = 256
_NS_A_SECOND = 1_000_000_000
_DURATION = re.compile(
    r"P(?:([0-9]{1,4})D)?(?:T(?:([0-9]{1,6})H)?(?:([0-9]{1,6})M)?(?:([0-9]{1,9})(?:\.([0-9]{1,9})[0-9]{0,9})?S)?)?"
)
_MAX_DURATION = 64


class Offer(NamedTuple):
    """A form of audio."""

    name: str
    channels: tuple[str, ...]
    rate_hz: int

    def echo(self) -> dict[str, object]:
        """Return it as it stands in ``opened``."""
        return {"type": "audio", "format": self.name, "channels": list(self.channels), "rate": self.rate_hz}


class Opening(NamedTuple):
    """What an ``open`` begins."""

    offer: Offer | None
    """The form that is taken; None: a probe that offers none."""
    started: StreamStarted | None
    """None: it is a probe (rule 2)."""


class _Parameters(StreamParameters, frozen=True, kw_only=True):
    byteorder: ByteOrder = "little"
    accepted: ClassVar[Mapping[str, str]] = {**ACCEPTED, "byteorder": BYTE_ORDERS}


_NO_VENDOR_ID = _Parameters.accepted.keys() | {"session_id", "leg", "app", "token"}


def read_open(parameters: Mapping[str, Any], session: str, request: UpgradeRequest) -> Opening:
    """Return what the parameters of ``open`` begin, on the AudioHook session of this id; raise BadParameter."""
    organization = request.headers.get(ORGANIZATION_HEADER)
    if organization is not None and parameters.get("organizationId") != organization:
        raise BadParameter("organizationId", "the one in the header Audiohook-Organization-Id is accepted")
    offer = _best(parameters.get("media"))
    conversation = parameters.get("conversationId")
    if _is_nil(conversation):
        return Opening(offer, None)
    if offer is None:
        raise BadParameter("media", f"one of {', '.join(FORMATS)} is accepted, with external, internal or both")
    participant = parameters.get("participant")
    party = participant if isinstance(participant, dict) else {}
    said = parameters.get("customConfig")
    custom = first_fields(said) if isinstance(said, dict) else {}
    read = read_parameters({**request.defaults, **request.query, **custom}, _Parameters, _Parameters.accepted)
    ids = {
        "conversationId": conversation,
        "participantId": party.get("id"),
        "organizationId": parameters.get("organizationId"),
        "audiohookSessionId": session,
    }
    known = {name: each for name, each in ids.items() if isinstance(each, str) and is_customer_id(each)}
    where = identify(request, custom, call_id=known.get("conversationId"), leg_id=known.get("participantId"))
    call = replace(
        read.call,
        from_=read.from_ or _text(party.get("ani")),
        to=read.to or _text(party.get("dnis")),
        vendor_ids=known | customer_ids(custom, {*_NO_VENDOR_ID, *known}),
    )
    started = StreamStarted(
        session_id=where.session_id,
        leg=where.leg,
        format=MediaFormat(
            codec=ordered(FORMATS[offer.name], read.byteorder), rate_hz=offer.rate_hz, channels=len(offer.channels)
        ),
        clock=TrackClock.TIMESTAMPED,
        tracks=tuple(_TRACKS[channel] for channel in offer.channels),
        channel=read.channel,
        call=call,
        record=read.record,
        keepalive=read.keepalive,
    )
    return Opening(offer, started)


def read_duration_ns(text: object) -> int | None:
    """Return the nanoseconds of an ISO 8601 duration such as ``PT12.5S``; None: it is none."""
    found = _DURATION.fullmatch(text) if isinstance(text, str) and len(text) <= _MAX_DURATION else None
    if found is None or not any(found.groups()):
        return None
    days, hours, minutes, seconds = (int(each or 0) for each in found.groups()[:4])
    fraction = int((found.group(5) or "").ljust(9, "0"))
    return (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * _NS_A_SECOND + fraction


def _best(media: object) -> Offer | None:
    """Return the form to take (rule 1); None: none of them can be read."""
    offers = [_read_offer(each) for each in media[:_MAX_OFFERS]] if isinstance(media, list) else []
    known = [offer for offer in offers if offer is not None]
    return max(known, key=lambda offer: (len(offer.channels), "external" in offer.channels), default=None)


class _Offered(msgspec.Struct):
    type: str
    format: str
    channels: list[str]
    rate: int = MIN_RATE_HZ


def _read_offer(item: object) -> Offer | None:
    try:
        offered = msgspec.convert(item, _Offered, strict=False)
    except msgspec.ValidationError:
        return None
    channels = offered.channels
    has_form = offered.type == "audio" and offered.format in FORMATS and MIN_RATE_HZ <= offered.rate <= MAX_RATE_HZ
    has_channels = 0 < len(channels) == len(set(channels)) and _TRACKS.keys() >= set(channels)
    return Offer(offered.format, tuple(channels), offered.rate) if has_form and has_channels else None


def _is_nil(conversation: object) -> bool:
    """Return whether an id is made of zeros alone, such as a nil UUID."""
    return isinstance(conversation, str) and not conversation.strip("0-") and "0" in conversation


def _text(given: object) -> str:
    return given if isinstance(given, str) and len(given) <= _MAX_TEXT else ""
