"""What the samples of a stream look like, and which clock tells where they belong."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MIN_RATE_HZ = 8_000
MAX_RATE_HZ = 48_000
NOMINAL_PTIME_US = 20_000
"""A frame of this length starts where it arrived; a longer one ends where this one would end."""


class Codec(StrEnum):
    """How payload bytes become 16-bit linear samples."""

    L16 = "l16"
    """Signed 16-bit linear, little-endian."""
    L16BE = "l16be"
    """Signed 16-bit linear, big-endian (RFC 2586 network order)."""
    PCMU = "pcmu"
    """G.711 mu-law, one byte a sample."""
    PCMA = "pcma"
    """G.711 A-law, one byte a sample."""

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample of one channel."""
        return 2 if self in (Codec.L16, Codec.L16BE) else 1


class PacketCodec(StrEnum):
    """How a payload that is not a row of samples becomes some: it is decoded where it arrives, packet by packet."""

    G722 = "g722"
    """ITU-T G.722: 16 kHz, half a byte a sample."""
    OPUS = "opus"
    """RFC 6716 packets, decoded at 48 kHz."""
    AMR_WB = "amr-wb"
    """ITU-T G.722.2, 16 kHz, in RTP payloads as RFC 4867 has them."""


class TrackClock(StrEnum):
    """Where the media time of a track comes from."""

    TIMESTAMPED = "timestamped"
    """The vendor gives it with each frame: a jump is loss, a late frame is only late."""
    CONTIGUOUS = "contiguous"
    """Every sample is sent: media time is their count, and long stalls are repaired."""
    ARRIVAL = "arrival"
    """Silence is suppressed and unmarked: a pause on the wire is a pause in the call."""


class Track(StrEnum):
    """One mono sequence of media of a leg."""

    INBOUND = "inbound"
    """What the party says."""
    OUTBOUND = "outbound"
    """What the party hears."""


class Channel(StrEnum):
    """A position in the output file."""

    LEFT = "left"
    RIGHT = "right"


@dataclass(frozen=True, slots=True)
class MediaFormat:
    """The form of every payload of one stream."""

    codec: Codec = Codec.L16
    rate_hz: int = 8_000
    """Samples a second of each channel."""
    channels: int = 1
    """1, or 2 interleaved."""

    @property
    def step_bytes(self) -> int:
        """Bytes of one sample of all channels: every payload is a whole number of these."""
        return self.codec.sample_bytes * self.channels
