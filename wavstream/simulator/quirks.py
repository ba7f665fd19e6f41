"""How a media server misbehaves: quirks as values, and how they are written.

There are two kinds. Timed ones happen at a moment that is given, ``NAME:NUMBER[:NUMBER]``, on any dialect. Vendor-like
ones are ``NAME`` or ``NAME=NUMBER``: they happen where chance has them, the same for the same seed, and only on the
dialects whose vendor has them (``Peer.quirks``). ``steps`` makes what a leg does of both.

All times of timed quirks are seconds of the call from the moment at which the leg should dial (the start of the audio,
unless the leg joins late); a quirk at 3 s changes the first message that starts at 3 s or later.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

from wavstream.errors import OperatorError
from wavstream.model.audio import Codec
from wavstream.simulator.vendors.base import PTIME_MS as PTIME_MS
from wavstream.simulator.vendors.base import AnyCodec, Peer


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
    """The connection breaks without a close, and the leg comes back after a while.

    The audio between is lost, but for what a vendor keeps of it (``Peer.backlog_s``).
    """

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


@dataclass(frozen=True, slots=True)
class Lost:
    """So many of a hundred messages are made, and numbered, and never sent."""

    name: ClassVar[str] = "lost"
    refusal: ClassVar[str] = (
        "its messages have neither a number nor a time, so nobody could tell; gap:AT_S:FOR_S leaves audio out"
    )
    percent: float = 2.0


@dataclass(frozen=True, slots=True)
class Swapped:
    """So many of a hundred messages are sent behind the next one."""

    name: ClassVar[str] = "swap"
    refusal: ClassVar[str] = "its messages have neither a number nor a time, and keep their order"
    percent: float = 2.0


@dataclass(frozen=True, slots=True)
class Repeated:
    """So many of a hundred messages are sent twice."""

    name: ClassVar[str] = "dup"
    refusal: ClassVar[str] = "its messages have neither a number nor a time, and each comes once"
    percent: float = 2.0


@dataclass(frozen=True, slots=True)
class Burst:
    """About every five seconds nothing is sent for so long, and then what is due at once."""

    name: ClassVar[str] = "burst"
    refusal: ClassVar[str] = "it sends in time"
    milliseconds: float = 500.0


@dataclass(frozen=True, slots=True)
class Reconnect:
    """The connection breaks once, somewhere in the middle, and the leg comes back after so long, as its vendor does."""

    name: ClassVar[str] = "reconnect"
    refusal: ClassVar[str] = "it hangs up instead of coming back"
    milliseconds: float = 500.0


@dataclass(frozen=True, slots=True)
class LateOpening:
    """What describes the audio comes behind so many messages of it."""

    name: ClassVar[str] = "late"
    refusal: ClassVar[str] = "what describes its audio comes first; late:BY_S has the leg join late"
    messages: float = 5.0


@dataclass(frozen=True, slots=True)
class Joined:
    """Texts that wait for the same write become one: what describes the audio, and a key that is pressed then."""

    name: ClassVar[str] = "joined"
    refusal: ClassVar[str] = "each of its texts is a message of its own"


@dataclass(frozen=True, slots=True)
class Ptime:
    """Messages have so many milliseconds of audio."""

    name: ClassVar[str] = "ptime"
    refusal: ClassVar[str] = f"its messages have {PTIME_MS} ms"
    milliseconds: float


Timed = Stall | Gap | Drop | Late | Drift | Delay | Swap | Double | Chunks
Vendors = Lost | Swapped | Repeated | Burst | Reconnect | LateOpening | Joined | Ptime
Quirk = Timed | Vendors

_TIMED: Mapping[str, type[Timed]] = {
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
_VENDORS: Mapping[str, type[Vendors]] = {
    kind.name: kind for kind in (Lost, Swapped, Repeated, Burst, Reconnect, LateOpening, Joined, Ptime)
}
_UNITS = {"percent": "N%", "milliseconds": "MS", "messages": "N"}
_MOST = {"percent": 50.0, "milliseconds": 5_000.0, "messages": 100.0}


def parse_quirks(text: str) -> Iterator[tuple[str | None, Quirk]]:
    """Read ``[LEG=]QUIRK,QUIRK,...``; yield each with its leg (None: every leg); raise OperatorError.

    A leg holds for what follows it in the text, up to another one.
    """
    leg: str | None = None
    for part in text.split(","):
        head, _, rest = part.partition("=")
        # `lost=2%` has no leg, `b=lost=2%`, `b=swap` and `b=stall:1:2` have one.
        if rest and head not in _VENDORS:
            leg, part = head, rest
        try:
            yield leg, _parse(part)
        except ValueError:
            raise OperatorError(
                f"--quirk {text}: {part or 'nothing'} is not one of {quirk_forms()}; LEG= before it makes it one leg's"
            ) from None


def quirk_forms() -> str:
    """Return how each quirk is written, for help texts."""
    return ", ".join([*(_form_of_vendors(kind) for kind in _VENDORS.values()), *map(_form_of_timed, _TIMED)])


def check_quirks(quirks: Sequence[Quirk], peer: type[Peer], codec: AnyCodec) -> None:
    """Raise OperatorError if the vendor has one of these not, with the reason."""
    for quirk in quirks:
        name = getattr(quirk, "name", None)
        if isinstance(quirk, Vendors) and name not in peer.quirks:
            raise OperatorError(f"--quirk {name}: {peer.dialect} does not have it: {quirk.refusal}")
        if isinstance(quirk, Ptime | Chunks) and not isinstance(codec, Codec):
            raise OperatorError(f"--quirk {_form(quirk)}: a packet of {codec} has {PTIME_MS} ms; leave it out")


def needs_chance(quirks: Sequence[Quirk]) -> bool:
    """Return whether what happens depends on the seed."""
    return any(isinstance(quirk, Lost | Swapped | Repeated | Burst | Reconnect) for quirk in quirks)


def _parse(text: str) -> Quirk:
    """Return the quirk; raise ValueError."""
    if ":" in text:
        name, *numbers = text.split(":")
        kind = _TIMED.get(name)
        if kind is None or len(numbers) != len(fields(kind)):
            raise ValueError(text)
        return kind(*(_number(number) for number in numbers))
    name, has_number, number = text.partition("=")
    vendors = _VENDORS.get(name)
    if vendors is None:
        raise ValueError(text)
    return _with_number(vendors, number) if has_number or vendors is Ptime else vendors()  # type: ignore[call-arg]


def _with_number(kind: type[Vendors], text: str) -> Quirk:
    unit = next((each.name for each in fields(kind)), None)
    if unit is None:
        raise ValueError(text)
    number = _number(text.removesuffix("%" if unit == "percent" else "ms" if unit == "milliseconds" else ""))
    if not 0 < number <= _MOST[unit]:
        raise ValueError(text)
    return kind(number)  # type: ignore[call-arg]


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _form(quirk: Quirk) -> str:
    return quirk.name if isinstance(quirk, Vendors) else type(quirk).__name__.lower()


def _form_of_timed(name: str) -> str:
    return ":".join([name, *(each.name.upper() for each in fields(_TIMED[name]))])


def _form_of_vendors(kind: type[Vendors]) -> str:
    unit = next((f"={_UNITS[each.name]}" for each in fields(kind)), "")
    return f"{kind.name}{unit}" if kind is Ptime or not unit else f"{kind.name}[{unit}]"
