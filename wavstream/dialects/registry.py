"""Every dialect by its name in the path ``/media/{name}``: a new one is one line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from wavstream.dialects.asterisk import AsteriskDialect
from wavstream.dialects.audiofork2 import AudioFork2Dialect
from wavstream.dialects.audiohook import AudioHookDialect
from wavstream.dialects.bandwidth import BandwidthDialect
from wavstream.dialects.base import Dialect
from wavstream.dialects.exotel import ExotelDialect
from wavstream.dialects.freeswitch import AudioForkDialect, AudioStreamDialect
from wavstream.dialects.jambonz import JambonzDialect
from wavstream.dialects.livekit import LiveKitDialect
from wavstream.dialects.pcm import PcmDialect
from wavstream.dialects.plivo import PlivoDialect
from wavstream.dialects.signalwire import SignalWireDialect
from wavstream.dialects.telnyx import TelnyxDialect
from wavstream.dialects.twilio import TwilioDialect
from wavstream.dialects.vonage import VonageDialect

DIALECTS: Mapping[str, type[Dialect]] = MappingProxyType(
    {
        dialect.name: dialect
        for dialect in (
            PcmDialect,
            TwilioDialect,
            AudioForkDialect,
            AudioStreamDialect,
            AudioHookDialect,
            AudioFork2Dialect,
            JambonzDialect,
            VonageDialect,
            LiveKitDialect,
            AsteriskDialect,
            TelnyxDialect,
            SignalWireDialect,
            PlivoDialect,
            BandwidthDialect,
            ExotelDialect,
        )
    }
)
