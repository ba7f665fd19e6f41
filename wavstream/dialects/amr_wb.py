"""AMR-WB frames out of RTP payloads (RFC 4867), in whichever of their two forms they come.

1. Both forms have a codec mode request (CMR, 4 bits, nothing to a recorder), a table of contents with an entry a frame
   (F: another follows, FT: the frame's kind, Q: whether it is undamaged), and then the frames. In the octet-aligned
   form each part fills whole bytes (4.4); in the bandwidth-efficient one they follow each other bit by bit (4.3).
2. Vendors do not say which form they send, so each packet is read in both. The length tells: it must be the exact one
   that the table of contents gives, and what is padding in the octet-aligned form must be zero. A packet that fits both
   (with real frames none does) is read as the newest one that fitted one only.
3. Interleaving, CRCs and robust sorting (4.4.1) are not read: a stream may only have them if both ends agreed so.
"""

from __future__ import annotations

from collections.abc import Sequence

FRAME_SAMPLES = 320
"""A frame is 20 ms at 16 kHz."""
MAX_FRAMES = 12
"""In a packet: 240 ms, the longest that RFC 4867's examples of ``maxptime`` and phones agree on."""

_BITS = (132, 177, 253, 285, 317, 365, 397, 461, 477, 40, None, None, None, None, 0, 0)
"""Of a frame, by FT: nine modes, comfort noise, four kinds that there are not, speech lost, no data (TS 26.201)."""
_CMR_BITS, _ENTRY_BITS = 4, 6
_MORE, _KIND_AND_QUALITY, _PADDING = 0x80, 0x7C, 0x03
_Frames = Sequence[bytes]


class AmrWbPayloads:
    """Reads the payloads of one stream."""

    __slots__ = ("_is_efficient",)

    def __init__(self) -> None:
        self._is_efficient = False

    def frames(self, payload: bytes) -> Sequence[bytes]:
        """Return the frames, each as in a file (RFC 4867, 5.3): a byte with FT and Q, then its bits. () if broken."""
        aligned, efficient = _octet_aligned(payload), _bandwidth_efficient(payload)
        if aligned and efficient:
            return efficient if self._is_efficient else aligned
        if aligned or efficient:
            self._is_efficient = bool(efficient)
        return aligned or efficient


def _octet_aligned(payload: bytes) -> _Frames:
    """Return the frames of a payload in this form, or () if it is not."""
    if len(payload) < 2 or payload[0] & 0x0F:
        return ()
    entries: list[int] = []
    for entry in payload[1 : 1 + MAX_FRAMES]:
        if entry & _PADDING:
            return ()
        entries.append(entry & _KIND_AND_QUALITY)
        if not entry & _MORE:
            break
    else:
        return ()
    at = 1 + len(entries)
    frames: list[bytes] = []
    for entry in entries:
        bits = _BITS[entry >> 3]
        if bits is None:
            return ()
        size = (bits + 7) // 8
        frames.append(bytes((entry,)) + payload[at : at + size])
        at += size
    return frames if at == len(payload) else ()


def _bandwidth_efficient(payload: bytes) -> _Frames:
    """Return the frames of a payload in this form, or () if it is not."""
    all_bits = len(payload) * 8
    if not payload or all_bits > _CMR_BITS + MAX_FRAMES * (_ENTRY_BITS + 477) + 7:
        return ()
    whole = int.from_bytes(payload, "big")
    at = _CMR_BITS
    entries: list[int] = []
    while True:
        if len(entries) == MAX_FRAMES or at + _ENTRY_BITS > all_bits:
            return ()
        entry = whole >> (all_bits - at - _ENTRY_BITS) & 0x3F
        at += _ENTRY_BITS
        entries.append(entry << 2 & _KIND_AND_QUALITY)
        if not entry & 0x20:
            break
    frames: list[bytes] = []
    for entry in entries:
        bits = _BITS[entry >> 3]
        if bits is None or at + bits > all_bits:
            return ()
        size = (bits + 7) // 8
        frame = (whole >> (all_bits - at - bits) & ((1 << bits) - 1)) << (size * 8 - bits)
        frames.append(bytes((entry,)) + frame.to_bytes(size, "big"))
        at += bits
    return frames if all_bits - at < 8 else ()
