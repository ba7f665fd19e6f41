"""Every dialect by its name in the path ``/media/{name}``: a new one is one line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from wavstream.dialects.asterisk import AsteriskDialect
from wavstream.dialects.base import Dialect
from wavstream.dialects.freeswitch import AudioForkDialect, AudioStreamDialect
from wavstream.dialects.pcm import PcmDialect
from wavstream.dialects.twilio import TwilioDialect

DIALECTS: Mapping[str, type[Dialect]] = MappingProxyType(
    {
        dialect.name: dialect
        for dialect in (
            PcmDialect,
            TwilioDialect,
            AudioForkDialect,
            AudioStreamDialect,
            AsteriskDialect,
        )
    }
)
