"""Every dialect by its name in the path ``/media/{name}``: a new one is one line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from wavstream.dialects.bandwidth import BandwidthDialect
from wavstream.dialects.base import Dialect
from wavstream.dialects.exotel import ExotelDialect
from wavstream.dialects.freeswitch import AudioForkDialect, AudioStreamDialect
from wavstream.dialects.pcm import PcmDialect
from wavstream.dialects.plivo import PlivoDialect
from wavstream.dialects.signalwire import SignalWireDialect
from wavstream.dialects.telnyx import TelnyxDialect
from wavstream.dialects.twilio import TwilioDialect

DIALECTS: Mapping[str, type[Dialect]] = MappingProxyType(
    {
        dialect.name: dialect
        for dialect in (
            PcmDialect,
            TwilioDialect,
            AudioForkDialect,
            AudioStreamDialect,
            TelnyxDialect,
            SignalWireDialect,
            PlivoDialect,
            BandwidthDialect,
            ExotelDialect,
        )
    }
)
