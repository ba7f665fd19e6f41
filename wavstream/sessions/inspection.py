"""The inspection of a live stream: its pace, and what it makes suspicious, without a recording too.

Nothing is done once a frame. The ticker visits each session about every 150 ms: a stream that is watched closely is
looked at each time, and one that is not only where a look is due.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wavstream.dialects.events import Frame
from wavstream.journal.events import StreamFacts
from wavstream.model.pace import PAUSE_US
from wavstream.rendering.inspection.inspection import Inspection

_SECOND_US = 1_000_000


class StreamInspection:
    """What is known of the tracks of one live stream."""

    __slots__ = (
        "_facts", "_lanes", "_look_us", "_looked_us", "_was_order_told", "_was_pace_told", "next_us", "rests_us"
    )  # fmt: skip

    def __init__(self, facts: StreamFacts) -> None:
        self._facts = facts
        self.next_us = 0
        """When to visit again, at the earliest."""
        self.rests_us = -1
        """When what came last came, if that and the pause since then are known: until more comes there is nothing to
        look at."""
        self._look_us = 0
        self._looked_us = -1
        """What had come by the last look."""
        self._lanes = [_Lane(facts) for _ in (facts.tracks if facts.format.channels == 1 else facts.tracks[:1])]
        """One for each track, or one for those that are interleaved."""
        self._was_order_told = self._was_pace_told = False

    def visit(
        self, now_us: int, *, arrived_us: int, samples: Sequence[int], latest: Sequence[Frame | None]
    ) -> Sequence[str]:
        """Look at what has come by now; return what has become suspicious, of each kind once a stream.

        ``arrived_us``: when the last frame came. ``samples``: how many have come, of each channel, by track.
        ``latest``: the last frame of each track.
        """
        is_close, is_paused = False, True
        for lane, frame in zip(self._lanes, latest, strict=False):
            if lane.inspection.is_close:
                is_close = True
                is_paused &= lane.note_pause(now_us, frame, arrived_us=arrived_us if len(self._lanes) == 1 else None)
        if now_us < self._look_us:
            if is_close and is_paused and self._looked_us == arrived_us:
                self.rests_us = arrived_us
            self.next_us = now_us if is_close else self._look_us
            return ()
        self._look(arrived_us, samples, latest)
        self._looked_us = arrived_us
        self._look_us = now_us + min(lane.inspection.next_look_s for lane in self._lanes) * _SECOND_US
        self.next_us = now_us if any(lane.inspection.is_close for lane in self._lanes) else self._look_us
        return [*self._untold()]

    def pace(self, track: int) -> float | None:
        """Return the pace of a track, by its index; None: it is not known."""
        return self._lanes[min(track, len(self._lanes) - 1)].inspection.pace.value

    @property
    def suspicions(self) -> tuple[str, ...]:
        """What was probably described wrongly, each once."""
        return tuple(dict.fromkeys(text for lane in self._lanes for text in lane.inspection.suspicions))

    @property
    def is_order_wrong(self) -> bool:
        """Whether the bytes of its samples are probably in the other order."""
        return any(lane.inspection.wrong_order is not None for lane in self._lanes)

    def _look(self, arrived_us: int, samples: Sequence[int], latest: Sequence[Frame | None]) -> None:
        rate_hz = self._facts.format.rate_hz
        for lane, frame, sent in zip(self._lanes, latest, samples, strict=False):
            if frame is not None:
                lane.inspection.look(arrived_us, sent * 1_000_000 // rate_hz, frame.payload)

    def _untold(self) -> Iterator[str]:
        for lane in self._lanes:
            if not self._was_order_told and (text := lane.inspection.wrong_order):
                self._was_order_told = True
                yield text
            if not self._was_pace_told and (text := lane.inspection.wrong_pace):
                self._was_pace_told = True
                yield text


class _Lane:
    """One track, or those that are interleaved."""

    __slots__ = ("_seen", "_seen_us", "inspection")

    def __init__(self, facts: StreamFacts) -> None:
        self.inspection = Inspection(facts.format, facts.dialect)
        self._seen: Frame | None = None
        self._seen_us = 0

    def note_pause(self, now_us: int, frame: Frame | None, *, arrived_us: int | None) -> bool:
        """Note a pause, if there is one; return whether there is.

        ``arrived_us``: when the frame came; None: not known, and no earlier than it was first seen.
        """
        if frame is not self._seen:
            self._seen, self._seen_us = frame, now_us if arrived_us is None else arrived_us
        is_paused = now_us - self._seen_us > PAUSE_US
        if is_paused:
            self.inspection.pace.pause()
        return is_paused
