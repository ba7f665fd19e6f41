"""Audio in packets of a codec, within JSON: put in order where the vendor does not, then decoded, track by track.

1. A decoder learns from packet to packet, so packets must come to it in order. Where the vendor promises none (Telnyx),
   each has the number ``chunk``, which counts those of its track from 1.
2. A packet that is ahead waits for those before it, until ``WINDOW`` of its track wait. Then what is missing is given
   up: it is lost, and the timestamps of what follows leave room for it. A packet that comes after that is too late.
3. A number that was there lately, with the same time, is a duplicate. Any other that is behind, and was not given up,
   is of a numbering that began anew.
4. A packet without a number goes to the decoder as it comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from wavstream.dialects.events import Reason
from wavstream.dialects.json_media import Media
from wavstream.dialects.packet_codecs import MAX_PACKET_BYTES, PacketDecoder
from wavstream.model.audio import PacketCodec

WINDOW = 8
"""Packets of a track that wait: 160 ms in the usual ones."""
_REMEMBERED = 64
"""Numbers of a track that are remembered: those that were decoded, and those that were given up."""


class Decoded(NamedTuple):
    """What becomes of packets."""

    audio: list[Media]
    """In order, with 16-bit little-endian samples as payloads."""
    broken: list[Reason]
    """For each packet that gives no audio."""


class PacketTracks:
    """The packets of all tracks of one stream."""

    def __init__(self, codec: PacketCodec, tracks: int, *, is_ordered: bool, field: str) -> None:
        """Raise BadParameter, with this field, if the codec is not installed."""
        decoders = [PacketDecoder(codec, field) for _ in range(tracks)]
        self.rate_hz = decoders[0].rate_hz
        self._tracks = [_PacketTrack(decoder, is_ordered=is_ordered) for decoder in decoders]

    def take(self, track: int, number: int | None, packet: Media) -> Decoded:
        """Return what can be decoded now that this packet of a track is there."""
        return self._tracks[track].take(number, packet)

    def rest(self) -> Decoded:
        """Return all that waits: nothing more will come."""
        rests = [track.rest() for track in self._tracks]
        return Decoded(
            [each for rest in rests for each in rest.audio], [each for rest in rests for each in rest.broken]
        )


class _PacketTrack:
    """The packets of one track."""

    def __init__(self, decoder: PacketDecoder, *, is_ordered: bool) -> None:
        self._decoder = decoder
        self._is_ordered = is_ordered
        self._next: int | None = None
        """The number of the next packet to decode; None: there was none."""
        self._waiting: dict[int, Media] = {}
        self._missing: dict[int, None] = {}
        """Numbers that were given up, the newest last."""
        self._recent: dict[int, object] = {}
        """Numbers that were decoded, with their times, the newest last."""

    def take(self, number: int | None, packet: Media) -> Decoded:
        if len(packet.payload) > MAX_PACKET_BYTES:  # or nine of them would be held
            return Decoded([], [Reason.BAD_MEDIA])
        if self._is_ordered or number is None:  # rule 4
            return self._decode([packet])
        if self._next is None and number <= 1:
            self._next = number
        if self._next is not None and number < self._next:  # rule 3
            if number in self._missing:
                del self._missing[number]
                return Decoded([], [Reason.LATE_MEDIA])
            if self._recent.get(number) == packet.timestamp:
                return Decoded([], [Reason.DUPLICATE_MEDIA])
            before = self._take_waiting()
            self._recent.clear()
            self._missing.clear()
            self._next = number
            self._waiting[number] = packet
            return self._decode([*before, *self._follow()])
        if number in self._waiting:
            return Decoded([], [Reason.DUPLICATE_MEDIA])
        self._waiting[number] = packet
        if len(self._waiting) > WINDOW:  # rule 2
            self._give_up(min(self._waiting))
        return self._decode(self._follow())

    def rest(self) -> Decoded:
        return self._decode(self._take_waiting())

    def _give_up(self, to: int) -> None:
        """Wait no longer for what lacks before this number."""
        if self._next is not None:
            self._missing |= dict.fromkeys(range(max(self._next, to - _REMEMBERED), to))
            _forget(self._missing)
        self._next = to

    def _follow(self) -> list[Media]:
        """Take the packets that follow without a hole."""
        packets: list[Media] = []
        while self._next is not None and (packet := self._waiting.pop(self._next, None)) is not None:
            packets.append(packet)
            self._recent[self._next] = packet.timestamp
            self._next += 1
        _forget(self._recent)
        return packets

    def _take_waiting(self) -> list[Media]:
        waiting, self._waiting = self._waiting, {}
        if waiting:
            self._next = max(waiting) + 1
        return [waiting[number] for number in sorted(waiting)]

    def _decode(self, packets: Sequence[Media]) -> Decoded:
        decoded = Decoded([], [])
        for packet in packets:
            samples = self._decoder.decode(packet.payload)
            if samples:
                decoded.audio.append(Media(samples, packet.timestamp, packet.track))
            elif packet.payload:
                decoded.broken.append(Reason.BAD_MEDIA)
        return decoded


def _forget(numbers: dict[int, Any]) -> None:
    """Leave the newest."""
    for number in list(numbers)[:-_REMEMBERED]:
        del numbers[number]
