"""Packets of G.722, Opus and AMR-WB for the simulator's media servers, each of 20 ms.

G.722 and Opus are PyAV's. Its builds can decode AMR-WB but not encode it: that is done by VisualOn's library, which
Debian and Ubuntu have as ``libvo-amrwbenc0``.
"""

from __future__ import annotations

import ctypes
from ctypes.util import find_library
from typing import TYPE_CHECKING, Protocol

import numpy as np

from wavstream.dialects.packet_codecs import INSTALL
from wavstream.errors import BadParameter
from wavstream.model.audio import PacketCodec

if TYPE_CHECKING:
    import numpy.typing as npt

    Mono = npt.NDArray[np.int16]

PACKETS_A_SECOND = 50
INSTALL_AMR_WB = "apt-get install libvo-amrwbenc0"
"""The line that installs the encoder of AMR-WB."""

_AMR_WB_MODE = 2
"""12.65 kbit/s, what telephone networks use."""
_AMR_WB_BITS = 253
_CMR_NONE = 15
"""The receiver may send in any mode."""


class PacketEncoder:
    """Encodes one track."""

    def __init__(self, codec: PacketCodec, *, octet_aligned: bool = False) -> None:
        """Raise BadParameter if this machine has no encoder; ``octet_aligned`` is the form of AMR-WB (RFC 4867)."""
        self._encoder: _Encoder
        match codec:
            case PacketCodec.AMR_WB:
                self.rate_hz = 16_000
                self._encoder = _AmrWb(octet_aligned)
            case PacketCodec.OPUS:
                self.rate_hz = 48_000
                self._encoder = _PyAv("libopus", self.rate_hz, {"application": "voip"})
            case PacketCodec.G722:
                self.rate_hz = 16_000
                self._encoder = _PyAv("g722", self.rate_hz, {})
        self.packet_samples = self.rate_hz // PACKETS_A_SECOND
        self._rest = np.empty(0, np.int16)

    def encode(self, samples: Mono) -> list[bytes]:
        """Return the packets of samples at ``rate_hz``, (n,); what fills none waits for the next ones."""
        samples = np.concatenate((self._rest, samples))
        whole = len(samples) // self.packet_samples
        self._rest = samples[whole * self.packet_samples :]
        packets = samples[: whole * self.packet_samples].reshape(whole, self.packet_samples)
        return [self._encoder.packet(row) for row in packets]


class _Encoder(Protocol):
    def packet(self, samples: Mono) -> bytes: ...


class _PyAv:
    def __init__(self, name: str, rate_hz: int, options: dict[str, str]) -> None:
        try:
            import av
            from av.audio.codeccontext import AudioCodecContext
            from av.codec.context import CodecContext
        except ImportError as error:
            raise BadParameter("codec", f"it is encoded by an extra: {INSTALL}") from error
        context = CodecContext.create(name, "w")
        assert isinstance(context, AudioCodecContext)
        context.sample_rate, context.format, context.layout = rate_hz, "s16", "mono"
        context.options = options
        if name == "libopus":
            context.bit_rate = 32_000
        self._context, self._frame, self._next = context, av.AudioFrame, 0

    def packet(self, samples: Mono) -> bytes:
        frame = self._frame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = self._context.sample_rate, self._next
        self._next += len(samples)
        (packet,) = self._context.encode(frame)
        return bytes(packet)


class _AmrWb:
    def __init__(self, octet_aligned: bool) -> None:
        name = find_library("vo-amrwbenc")
        if name is None:
            raise BadParameter("codec", f"amr-wb is encoded by a library of the system: {INSTALL_AMR_WB}")
        self._library = ctypes.CDLL(name)
        self._library.E_IF_init.restype = ctypes.c_void_p
        self._state = ctypes.c_void_p(self._library.E_IF_init())
        self._octet_aligned = octet_aligned

    def __del__(self) -> None:
        if hasattr(self, "_state"):
            self._library.E_IF_exit(self._state)

    def packet(self, samples: Mono) -> bytes:
        frame = ctypes.create_string_buffer(64)
        size = self._library.E_IF_encode(self._state, _AMR_WB_MODE, samples.tobytes(), frame, 0)
        return amr_wb_payload([frame.raw[:size]], octet_aligned=self._octet_aligned)


def amr_wb_payload(frames: list[bytes], *, octet_aligned: bool) -> bytes:
    """Return the RTP payload of frames as a file has them: of 12.65 kbit/s, comfort noise, no data or lost speech."""
    entries = [frame[0] | (0x80 if place < len(frames) - 1 else 0) for place, frame in enumerate(frames)]
    if octet_aligned:
        return bytes((_CMR_NONE << 4, *entries)) + b"".join(frame[1:] for frame in frames)
    bits, count = _CMR_NONE, 4
    for entry in entries:
        bits, count = bits << 6 | entry >> 2, count + 6
    for frame in frames:
        size = min(_AMR_WB_BITS, (len(frame) - 1) * 8)
        bits = bits << size | int.from_bytes(frame[1:], "big") >> (len(frame) - 1) * 8 - size
        count += size
    padding = -count % 8
    return (bits << padding).to_bytes((count + padding) // 8, "big")
