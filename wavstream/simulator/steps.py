"""The steps of a leg in time: what it does when, made from the length of its audio and its quirks.

1. The plan reads no clock. What is left to chance is drawn from the seed, so the same quirks and the same seed always
   make the same call.
2. The vendor makes messages in the order of the audio, and numbers them then. What happens to one behind that, happens
   on the way: one that is lost, or sent later or again, has a step ``Make`` in its place.
3. The first message of a connection and the last of the leg go out in their turn and once: what is missing before the
   first or behind the last nobody can tell.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wavstream.simulator.quirks import (
    PTIME_MS,
    Burst,
    Chunks,
    Delay,
    Double,
    Drift,
    Drop,
    Gap,
    Late,
    Lost,
    Ptime,
    Quirk,
    Reconnect,
    Repeated,
    Stall,
    Swap,
    Swapped,
)

_BURST_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Dial:
    """Open the stream."""

    due_s: float


@dataclass(frozen=True, slots=True)
class Make:
    """Have the vendor make a message that is sent by later steps, or by none."""

    due_s: float
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Send:
    """Send one message: the one that was made of this audio, else a new one."""

    due_s: float
    first: int
    """The first sample of the audio in it."""
    end: int
    """The sample after the last."""


@dataclass(frozen=True, slots=True)
class Break:
    """Abort the connection without a closing handshake."""

    due_s: float


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the stream with 1000."""

    due_s: float


Step = Dial | Make | Send | Break | HangUp


def steps(
    total_samples: int,
    *,
    rate_hz: int,
    quirks: Sequence[Quirk] = (),
    message_samples: int | None = None,
    backlog_s: float = 0.0,
    seed: str = "",
) -> Iterator[Step]:
    """Yield everything that the leg does, in order.

    ``message_samples`` is the size of a message without Chunks and Ptime; ``backlog_s`` is how much audio of a time
    without a connection is sent when the leg is back.
    """
    chance = random.Random(seed)
    late_s = sum(quirk.by_s for quirk in quirks if isinstance(quirk, Late))
    real_rate_hz = rate_hz * (1 + sum(quirk.ppm for quirk in quirks if isinstance(quirk, Drift)) / 1e6)
    end_s = late_s + total_samples / real_rate_hz
    stalls = [quirk for quirk in quirks if isinstance(quirk, Stall)]
    drops = [quirk for quirk in quirks if isinstance(quirk, Drop)]
    for quirk in quirks:
        if isinstance(quirk, Burst):
            stalls += _bursts(quirk, late_s, end_s, chance)
        elif isinstance(quirk, Reconnect):
            drops.append(Drop(late_s + (end_s - late_s) * chance.uniform(0.3, 0.6), quirk.milliseconds / 1000))
    gaps = [quirk for quirk in quirks if isinstance(quirk, Gap)]
    delays = [quirk for quirk in quirks if isinstance(quirk, Delay)]
    moved = [quirk for quirk in quirks if isinstance(quirk, Swap | Double)]
    usual = message_samples or rate_hz * PTIME_MS // 1000
    sizes = [max(int(quirk.samples), 1) for quirk in quirks if isinstance(quirk, Chunks)]
    sizes += [max(round(rate_hz * quirk.milliseconds / 1000), 1) for quirk in quirks if isinstance(quirk, Ptime)]

    way = _Way(quirks, chance)
    away: Drop | None = None
    put_off: list[Send] = []
    at_s = due_s = late_s
    yield Dial(late_s)
    first = 0
    for size in itertools.cycle(sizes or [usual]):
        if first >= total_samples:
            break
        end = min(first + size, total_samples)
        at_s = late_s + first / real_rate_hz
        drop = next((drop for drop in drops if _within(at_s, drop.at_s, drop.away_s)), None)
        if drop is not away:
            if away is not None:
                yield Dial(away.at_s + away.away_s)
            if drop is not None:
                yield from way.end(due_s)
                yield Break(drop.at_s)
                put_off.clear()
            away = drop
        back_s = drop.at_s + drop.away_s if drop is not None else 0.0
        if drop is not None and at_s >= back_s - backlog_s:
            put_off.append(Send(back_s, first, end))
        elif drop is None and not any(_within(at_s, gap.at_s, gap.for_s) for gap in gaps):
            ends = [stall.at_s + stall.for_s for stall in stalls if _within(at_s, stall.at_s, stall.for_s)]
            delay_s = sum(quirk.for_s for quirk in delays if at_s >= quirk.at_s)
            due_s = max([at_s + delay_s, *ends])
            yield from _take_due(put_off, until_s=due_s)
            here = [quirk for quirk in moved if _within(at_s, quirk.at_s, size / real_rate_hz)]
            if here:
                yield Make(due_s, first, end)
            put_off += [Send(due_s + quirk.by_s, first, end) for quirk in here]
            if not any(isinstance(quirk, Swap) for quirk in here):
                yield from way.send(Send(due_s, first, end), is_last=end == total_samples)
        first = end
    yield from way.end(due_s)
    if away is not None:
        yield Dial(away.at_s + away.away_s)
    for late in _take_due(put_off, until_s=math.inf):
        yield late
        due_s = late.due_s
    yield HangUp(max(due_s, end_s))


class _Way:
    """What becomes of messages behind the vendor, on one connection after another."""

    def __init__(self, quirks: Sequence[Quirk], chance: random.Random) -> None:
        self._lost = sum(quirk.percent for quirk in quirks if isinstance(quirk, Lost)) / 100
        self._swapped = sum(quirk.percent for quirk in quirks if isinstance(quirk, Swapped)) / 100
        self._repeated = sum(quirk.percent for quirk in quirks if isinstance(quirk, Repeated)) / 100
        self._chance = chance
        self._is_first = True
        self._behind: Send | None = None
        """To be sent behind the next one."""

    def send(self, message: Send, *, is_last: bool) -> Iterator[Step]:
        """Yield what becomes of a message."""
        lost, swapped, repeated = (
            self._chance.random() < share for share in (self._lost, self._swapped, self._repeated)
        )
        is_free = not (self._is_first or is_last)  # rule 3
        self._is_first = False
        if is_free and lost:
            yield Make(message.due_s, message.first, message.end)
            return
        if is_free and swapped and self._behind is None:
            yield Make(message.due_s, message.first, message.end)
            self._behind = message
            return
        if is_free and repeated:
            yield Make(message.due_s, message.first, message.end)
            yield message
        yield message
        yield from self._take_behind(message.due_s)

    def end(self, due_s: float) -> Iterator[Step]:
        """Yield what is left over at the end of a connection."""
        yield from self._take_behind(due_s)
        self._is_first = True

    def _take_behind(self, due_s: float) -> Iterator[Step]:
        if self._behind is not None:
            yield Send(due_s, self._behind.first, self._behind.end)
        self._behind = None


def _bursts(burst: Burst, start_s: float, end_s: float, chance: random.Random) -> Iterator[Stall]:
    """Yield one stall in each five seconds; a shorter call has one too."""
    parts = max(round((end_s - start_s) / _BURST_EVERY_S), 1)
    length_s = (end_s - start_s) / parts
    for number in range(parts):
        from_s = start_s + (number + chance.uniform(0.2, 0.8)) * length_s
        yield Stall(from_s, min(burst.milliseconds / 1000, max(end_s - from_s, 0.0)))


def _take_due(put_off: list[Send], *, until_s: float) -> list[Send]:
    """Remove and return the messages that are due by then, in their order."""
    due = sorted((send for send in put_off if send.due_s <= until_s), key=lambda send: send.due_s)
    put_off[:] = [send for send in put_off if send.due_s > until_s]
    return due


def _within(at_s: float, start_s: float, length_s: float) -> bool:
    """Compare to the microsecond, so that 0.1 + 0.2 is 0.3."""
    return 0 <= round((at_s - start_s) * 1e6) < round(length_s * 1e6)
