"""The steps of a leg in time, and the quirks that change them: how a media server sends, and how it misbehaves.

A quirk is a value. ``steps`` makes the steps from the length of the audio and the quirks, and reads no clock, so the
same quirks always make the same call. All times are seconds of the call from the moment at which the leg should dial
(the start of the audio, unless the leg joins late); a quirk at 3 s changes the first message that starts at 3 s or
later.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from wavstream.errors import OperatorError

PTIME_MS = 20
"""Milliseconds of audio in a message, when no quirk says otherwise."""


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing is sent for a while, then everything that is due at once."""

    at_s: float
    for_s: float


@dataclass(frozen=True, slots=True)
class Gap:
    """A part of the audio is never sent, as with suppressed silence."""

    at_s: float
    for_s: float


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection breaks without a close, and the leg comes back after a while; the audio between is lost."""

    at_s: float
    away_s: float


@dataclass(frozen=True, slots=True)
class Late:
    """The leg joins late, and its audio starts from the beginning then."""

    by_s: float


@dataclass(frozen=True, slots=True)
class Drift:
    """The sender's clock is fast by so many parts in a million (negative: slow)."""

    ppm: float


@dataclass(frozen=True, slots=True)
class Delay:
    """Nothing is sent for a while, and everything after it is as much too late."""

    at_s: float
    for_s: float


@dataclass(frozen=True, slots=True)
class Swap:
    """One message is sent too late, behind those that follow it."""

    at_s: float
    by_s: float


@dataclass(frozen=True, slots=True)
class Double:
    """One message is sent again later."""

    at_s: float
    by_s: float


@dataclass(frozen=True, slots=True)
class Chunks:
    """Messages have this many samples instead of a ptime."""

    samples: float


Quirk = Stall | Gap | Drop | Late | Drift | Delay | Swap | Double | Chunks
_BY_NAME: dict[str, type[Quirk]] = {
    "stall": Stall,
    "gap": Gap,
    "drop": Drop,
    "late": Late,
    "drift": Drift,
    "delay": Delay,
    "swap": Swap,
    "double": Double,
    "chunks": Chunks,
}


@dataclass(frozen=True, slots=True)
class Dial:
    """Open the stream."""

    due_s: float


@dataclass(frozen=True, slots=True)
class Send:
    """Send one message."""

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


Step = Dial | Send | Break | HangUp


def parse_quirk(text: str) -> tuple[str | None, Quirk]:
    """Read ``[LEG=]NAME:NUMBER[:NUMBER]``; return the leg (None: every leg) and the quirk; raise OperatorError."""
    leg, _, rest = text.rpartition("=")
    name, *numbers = rest.split(":")
    kind = _BY_NAME.get(name)
    try:
        if kind is None or len(numbers) != len(fields(kind)):
            raise ValueError(name)
        return leg or None, kind(*(float(number) for number in numbers))
    except ValueError:
        raise OperatorError(f"--quirk {text}: not one of {quirk_forms()}; LEG= before it makes it one leg's") from None


def quirk_forms() -> str:
    """Return how each quirk is written, for help texts."""
    return ", ".join(":".join([name, *(f.name.upper() for f in fields(kind))]) for name, kind in _BY_NAME.items())


def steps(
    total_samples: int, *, rate_hz: int, quirks: Sequence[Quirk] = (), message_samples: int | None = None
) -> Iterator[Step]:
    """Yield everything that the leg does, in order; ``message_samples`` is the size of a message without Chunks."""
    late_s = sum(quirk.by_s for quirk in quirks if isinstance(quirk, Late))
    real_rate_hz = rate_hz * (1 + sum(quirk.ppm for quirk in quirks if isinstance(quirk, Drift)) / 1e6)
    stalls = [quirk for quirk in quirks if isinstance(quirk, Stall)]
    gaps = [quirk for quirk in quirks if isinstance(quirk, Gap)]
    drops = [quirk for quirk in quirks if isinstance(quirk, Drop)]
    delays = [quirk for quirk in quirks if isinstance(quirk, Delay)]
    moved = [quirk for quirk in quirks if isinstance(quirk, Swap | Double)]
    usual = message_samples or rate_hz * PTIME_MS // 1000
    sizes = [max(int(quirk.samples), 1) for quirk in quirks if isinstance(quirk, Chunks)] or [usual]

    away: Drop | None = None
    put_off: list[Send] = []
    at_s = due_s = late_s
    yield Dial(late_s)
    first = 0
    for size in itertools.cycle(sizes):
        if first >= total_samples:
            break
        end = min(first + size, total_samples)
        at_s = late_s + first / real_rate_hz
        drop = next((drop for drop in drops if _within(at_s, drop.at_s, drop.away_s)), None)
        if drop is not away:
            if away is not None:
                yield Dial(away.at_s + away.away_s)
            if drop is not None:
                yield Break(drop.at_s)
            away = drop
        if drop is None and not any(_within(at_s, gap.at_s, gap.for_s) for gap in gaps):
            ends = [stall.at_s + stall.for_s for stall in stalls if _within(at_s, stall.at_s, stall.for_s)]
            delay_s = sum(quirk.for_s for quirk in delays if at_s >= quirk.at_s)
            due_s = max([at_s + delay_s, *ends])
            yield from _take_due(put_off, until_s=due_s)
            here = [quirk for quirk in moved if _within(at_s, quirk.at_s, size / real_rate_hz)]
            put_off += [Send(due_s + quirk.by_s, first, end) for quirk in here]
            if not any(isinstance(quirk, Swap) for quirk in here):
                yield Send(due_s, first, end)
        first = end
    if away is not None:
        yield Dial(away.at_s + away.away_s)
    for late in _take_due(put_off, until_s=math.inf):
        yield late
        due_s = late.due_s
    yield HangUp(max(due_s, late_s + total_samples / real_rate_hz))


def _take_due(put_off: list[Send], *, until_s: float) -> list[Send]:
    """Remove and return the messages that are due by then, in their order."""
    due = sorted((send for send in put_off if send.due_s <= until_s), key=lambda send: send.due_s)
    put_off[:] = [send for send in put_off if send.due_s > until_s]
    return due


def _within(at_s: float, start_s: float, length_s: float) -> bool:
    """Compare to the microsecond, so that 0.1 + 0.2 is 0.3."""
    return 0 <= round((at_s - start_s) * 1e6) < round(length_s * 1e6)
