"""jambonz: the verbs ``listen`` and ``stream``, and the socket of "record all calls".

On the wire this is ``mod_audio_fork`` in jambonz' version, and its rules hold here (``freeswitch``). jambonz adds:

1. The first text is always there, and says what the audio is (``sampleRate``, ``mixType``), which call it is of, and at
   the same level what the verb's ``metadata`` say. Those come last, so a key of the application's own, such as
   ``sampleRate``, takes the place of jambonz'. A format that cannot be jambonz' is therefore refused with a text that
   says so, and ``rate`` in the URL wins over it.
2. The session of a call is its ``callSid``, unless something else names one. A ``listen`` inside ``dial`` is of the
   other leg and has that one's ``callSid``; its URL has to name the session.
3. With ``passDtmf`` keys come as text amid the audio; ``duration`` counts 8 to the millisecond, and is not needed.
4. ``customerData`` is an object of the customer's own; the texts in it are ids of the call like those beside it.
5. What jambonz tells of sounds that it has played is of no recording.

Sources: ``jambonz-feature-server``, ``lib/tasks/listen.js``, ``lib/session/call-info.js``; ``jambonz-api-server``,
``lib/record``; docs.jambonz.org, verbs, listen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import msgspec

from wavstream.dialects.base import FormatNames
from wavstream.dialects.events import Event, StreamStarted
from wavstream.dialects.freeswitch import AudioForkDialect
from wavstream.dialects.parameters import customer_ids, first_fields
from wavstream.errors import BadParameter
from wavstream.model.call import CallFacts

BUCKET_VENDORS = ("aws_s3", "s3_compatible", "google", "azure")
"""What an account's recordings may be kept by: the last part of the path at which they are streamed."""
RECORD_PARAMETERS = {"record": "1", "mix": "stereo"}
"""What holds at that path: the call is recorded, as it would be by jambonz' own receiver, in stereo."""
RATES_HZ = (8_000, 16_000, 24_000, 32_000, 48_000)
"""Rates of ``listen`` that are recorded; it has 64,000 too."""
_QUIET = frozenset(("playDone", "mark"))
_OVERWRITTEN = "the verb's metadata have a key of that name, and overwrite jambonz' own: rename it"


class JambonzDialect(AudioForkDialect):
    """The dialect of one ``listen``, ``stream`` or recorded call."""

    name: ClassVar[str] = "jambonz"
    format_names: ClassVar[FormatNames] = FormatNames(
        who="Whoever writes the verb",
        rate="sampleRate",
        little_endian="byteorder=little in the URL",
        big_endian="byteorder=big in the URL",
        channels="mixType",
    )

    __slots__ = ()

    def _begin(self, fields: Mapping[str, Any]) -> StreamStarted:
        """Return the start, by a format that jambonz can have sent (rule 1); raise BadParameter."""
        try:
            started = super()._begin(fields)
        except BadParameter as error:
            if error.field in ("rate", "mix") and not {"sampleRate", "mixType"}.isdisjoint(fields):
                raise BadParameter("sampleRate" if error.field == "rate" else "mixType", _OVERWRITTEN) from error
            raise
        if "sampleRate" in fields and started.format.rate_hz not in RATES_HZ:
            raise BadParameter("sampleRate", f"{started.format.rate_hz} is none of jambonz': {_OVERWRITTEN}")
        call = _with_customer_ids(started.call, fields.get("customerData"))
        return msgspec.structs.replace(started, call=call)

    def _fields(self, fields: dict[str, Any]) -> Sequence[Event]:
        kind = fields.get("type")
        if self._step_bytes and isinstance(kind, str) and kind in _QUIET and "event" not in fields:  # rule 5
            return ()
        return super()._fields(fields)


def _with_customer_ids(call: CallFacts, customer: object) -> CallFacts:
    """Return the facts with the ids in the customer's own object, behind those of jambonz (rule 4)."""
    if not isinstance(customer, dict):
        return call
    more = customer_ids(first_fields(customer), call.vendor_ids.keys())
    return replace(call, vendor_ids={**call.vendor_ids, **more})
