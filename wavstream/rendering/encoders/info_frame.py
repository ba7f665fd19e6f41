"""The Info frame: the first frame of an MP3 file, silent, which tells players how long the file is.

It is the tag of Xing ("Info" where the bit rate is constant) with LAME's extension, from which gapless players learn
how many samples to drop at both ends. Its place is where the audio data of a frame would be, behind the side
information; it has the format of the frames that follow, so that any decoder can skip it.
"""

from __future__ import annotations

import struct

_MPEG1, _MPEG2, _MPEG25 = 0b11, 0b10, 0b00
_RATES_HZ = {
    _MPEG1: (44_100, 48_000, 32_000),
    _MPEG2: (22_050, 24_000, 16_000),
    _MPEG25: (11_025, 12_000, 8_000),
}
_MPEG1_KBPS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_KBPS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_LAYER_3 = 0b01
_NO_CRC = 1
_STEREO, _JOINT_STEREO, _MONO = 0b00, 0b01, 0b11
_MAX_JOINT_KBPS = 128
"""Above it LAME 3.100 codes left and right each for itself (read from the frames it writes)."""
_ORIGINAL = 0b100

_TAG = struct.Struct(">4sIII100sI")
_ALL_FIELDS = 0b1111
_TABLE_OF_CONTENTS = bytes(256 * percent // 100 for percent in range(100))
"""256ths of the file at which each hundredth of its time starts: at a constant bit rate always the same."""
_QUALITY = 55
"""As LAME has it for our settings: 100 - 10 times its VBR quality, 4, minus its quality, 5."""
_EXTENSION = struct.Struct(">9sB10xB3s4xI2x")
"""Left 0: lowpass, peak, gains, flags of the psychoacoustic model, preset, and the CRC of the audio. No player needs
them, and that CRC alone would cost more than the rest of our part in a file."""
_ENCODER = b"LAME3.100"
_CONSTANT_BIT_RATE = 1
_CRC = struct.Struct(">H")
_CRC_POLYNOMIAL = 0xA001


class InfoFrame:
    """The Info frame of one form of file."""

    def __init__(self, *, sample_rate_hz: int, channels: int, kbps: int, frame_bytes: int) -> None:
        version = next(version for version, rates in _RATES_HZ.items() if sample_rate_hz in rates)
        bit_rates = _MPEG1_KBPS if version == _MPEG1 else _MPEG2_KBPS
        mode = _MONO if channels == 1 else _JOINT_STEREO if kbps <= _MAX_JOINT_KBPS else _STEREO
        side_bytes = {_MPEG1: (17, 32)}.get(version, (9, 17))[channels - 1]
        header = (
            0x7FF << 21
            | version << 19
            | _LAYER_3 << 17
            | _NO_CRC << 16
            | bit_rates.index(kbps) << 12
            | _RATES_HZ[version].index(sample_rate_hz) << 10
            | mode << 6
            | _ORIGINAL
        )
        self._start = header.to_bytes(4, "big") + bytes(side_bytes)
        self._size_bytes = frame_bytes
        self._kbps = kbps

    def encode(self, *, frames: int, audio_bytes: int, delay: int, padding: int) -> bytes:
        """Return the frame for so many frames and bytes after it; a player drops ``delay`` and ``padding`` samples."""
        file_bytes = self._size_bytes + audio_bytes
        tag = _TAG.pack(b"Info", _ALL_FIELDS, frames, file_bytes, _TABLE_OF_CONTENTS, _QUALITY)
        ends = (delay << 12 | padding).to_bytes(3, "big")
        extension = _EXTENSION.pack(_ENCODER, _CONSTANT_BIT_RATE, self._kbps, ends, file_bytes)
        checked = self._start + tag + extension
        return (checked + _CRC.pack(crc16(checked))).ljust(self._size_bytes, b"\0")


def crc16(data: bytes) -> int:
    """Return the CRC-16/ARC that the tag ends with."""
    crc = 0
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_CRC_POLYNOMIAL if byte & 1 else 0)
    return byte


_CRC_TABLE = tuple(map(_crc_of_byte, range(256)))
