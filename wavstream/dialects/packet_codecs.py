"""Payloads that are not a row of samples, decoded where they arrive: of G.722, Opus and AMR-WB, by PyAV (FFmpeg).

1. A decoder is made for one track of one stream and takes its packets in the order in which they came: G.722 adapts
   from packet to packet, and what Opus and AMR-WB leave out of a packet they have from the ones before.
2. A packet gives the samples that it has, and none for the packets that are missing before it: positions come from the
   stream's timestamps. A packet of comfort noise, of no data or of lost speech is a packet, and gives its 20 ms.
3. Nothing that a peer sends makes it hold or give more than a bounded amount, or fail: a broken packet gives nothing.
4. Sound comes later out of a decoder than it went into the encoder: the codecs look ahead. That is 1.4 ms for G.722,
   6.5 ms for Opus and 5.9 ms for AMR-WB, for the whole stream alike, and is left as it is.

PyAV is not among what wavstream always needs. It is imported when the first decoder of a process is made, which takes
0.1 s and 19 MB, so that servers and commands without such streams pay nothing for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from wavstream.dialects.amr_wb import AmrWbPayloads
from wavstream.errors import BadParameter
from wavstream.model.audio import PacketCodec

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext

INSTALL = "pip install 'wavstream[codecs]'"
"""The line that installs PyAV."""
MAX_PACKET_BYTES = 8_000
"""A second of G.722, and more than 120 ms of Opus at its highest rate; what is longer is no packet of a call."""


class _Decoding(NamedTuple):
    name: str
    """As FFmpeg calls its decoder, of those that give 16-bit samples of one channel."""
    rate_hz: int


_DECODINGS: Mapping[PacketCodec, _Decoding] = {
    PacketCodec.G722: _Decoding("g722", 16_000),
    # FFmpeg's own decoder of Opus neither mixes two channels into one nor conceals.
    PacketCodec.OPUS: _Decoding("libopus", 48_000),
    # FFmpeg's own decoder of AMR-WB takes no frame of lost speech.
    PacketCodec.AMR_WB: _Decoding("libopencore_amrwb", 16_000),
}


class PacketDecoder:
    """Decodes the packets of one track."""

    __slots__ = ("_context", "_failure", "_packet", "_payloads", "rate_hz")

    def __init__(self, codec: PacketCodec, field: str = "codec") -> None:
        """Raise BadParameter, with the field that named the codec, if PyAV is not installed or cannot decode it."""
        name, self.rate_hz = _DECODINGS[codec]
        try:
            import av
            import av.error
        except ImportError as error:
            raise BadParameter(field, f"{codec.value} needs an extra on this server: {INSTALL}") from error
        try:
            self._context = _opened(name, self.rate_hz)
        except (av.error.FFmpegError, ValueError) as error:
            detail = f"this server's PyAV cannot decode {codec.value}; one that can: {INSTALL}"
            raise BadParameter(field, detail) from error
        self._packet, self._failure = av.Packet, av.error.FFmpegError
        self._payloads = AmrWbPayloads() if codec is PacketCodec.AMR_WB else None

    def decode(self, packet: bytes) -> bytes:
        """Return the packet's samples, little-endian L16 of one channel at ``rate_hz``; empty if it is broken."""
        if not packet or len(packet) > MAX_PACKET_BYTES:  # an empty one would end the decoder
            return b""
        frames = self._payloads.frames(packet) if self._payloads else (packet,)
        try:
            return b"".join([self._samples(frame) for frame in frames])
        except self._failure:
            return b""

    def _samples(self, frame: bytes) -> bytes:
        decoded = self._context.decode(self._packet(frame))
        # A plane may have more room than there are samples.
        return b"".join([memoryview(audio.planes[0])[: audio.samples * 2].tobytes() for audio in decoded])


def _opened(name: str, rate_hz: int) -> AudioCodecContext:
    from av.audio.codeccontext import AudioCodecContext
    from av.codec.context import CodecContext

    context = CodecContext.create(name, "r")
    if not isinstance(context, AudioCodecContext):
        raise ValueError(f"{name} is not audio")
    context.sample_rate = rate_hz
    context.layout = "mono"
    context.thread_count = 1
    context.open(strict=False)
    return context
