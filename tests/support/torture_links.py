"""Links of the torture bench: what a network does to the frames of one socket.

It only ever adds delay, and it keeps their order. Times are microseconds from the first moment of the leg. All that a
link does is drawn; several links may be laid over each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.torture_senders import Ints, Parameters

_S = 1_000_000
_DRAINS_ONE_IN = 20
"""What has queued up comes so many times faster than real time."""


@dataclass(slots=True)
class Link:
    """What happens to a leg on its way."""

    length_us: int
    jitter_us: int = 0
    """The most that a frame is late by itself."""
    stalls: list[tuple[int, int]] = field(default_factory=list)
    """(begin, end): what would arrive in it arrives at its end."""
    slow: tuple[int, int, float] | None = None
    """(begin, end, how long one second takes)."""
    steps: list[tuple[int, int, int]] = field(default_factory=list)
    """(begin, end, delay): what is sent in it is so much later."""
    tail: tuple[int, int, int] | None = None
    """(begin, least, most): each frame that is sent from there on has a delay of its own."""
    joined_us: int = 0
    """When the socket opened: what was said before comes then."""
    outages: list[tuple[int, int]] = field(default_factory=list)
    """(begin, end): there is no socket; a new one brings what was said meanwhile."""
    lasts_from_us: int | None = None
    """From where a step of delay lasts to the end of the call."""
    parameters: Parameters = field(default_factory=dict)

    def carry(self, sent_us: Ints, frame_us: int, rng: np.random.Generator) -> Ints:
        """Return when frames arrive that were sent in this order; the link is made for one each ``frame_us``."""
        arrival_us = sent_us.copy()
        if self.jitter_us:
            late_us = rng.exponential(self.jitter_us / 5, len(sent_us))
            arrival_us += np.minimum(late_us, self.jitter_us).astype(np.int64)
        if self.tail is not None:
            begin_us, least_us, most_us = self.tail
            arrival_us += (sent_us >= begin_us) * rng.integers(least_us, most_us, len(sent_us))
        for begin_us, end_us, delay_us in self.steps:
            arrival_us += ((sent_us >= begin_us) & (sent_us < end_us)) * delay_us
        arrival_us = np.maximum(arrival_us, self.joined_us)
        for begin_us, end_us in sorted(self.stalls + self.outages):
            arrival_us = np.maximum.accumulate(arrival_us)
            arrival_us[(arrival_us >= begin_us) & (arrival_us < end_us)] = end_us
        takes_us = np.full(len(sent_us), frame_us // _DRAINS_ONE_IN)
        if self.slow is not None:
            begin_us, end_us, factor = self.slow
            takes_us[(sent_us >= begin_us) & (sent_us < end_us)] = round(frame_us * factor)
        # A queue: each frame arrives when it is there, but not before the one before it is through.
        through_us = np.cumsum(takes_us) - takes_us[0]
        queued: Ints = through_us + np.maximum.accumulate(arrival_us - through_us)
        return queued

    def stream_of(self, arrival_us: Ints) -> Ints:
        """Return on which socket, by number, frames come."""
        ends_us = np.array([end_us for _, end_us in sorted(self.outages)], np.int64)
        return np.searchsorted(ends_us, arrival_us, side="right").astype(np.int64)


def clean(link: Link, rng: np.random.Generator) -> None:
    """Add nothing."""


def jitter(link: Link, rng: np.random.Generator) -> None:
    """Delay each frame by up to 30 ms."""
    link.jitter_us = int(rng.integers(2_000, 30_001))
    link.parameters["jitter_ms"] = link.jitter_us // 1000


def stalls(link: Link, rng: np.random.Generator) -> None:
    """Stall up to three times, for up to 20 s."""
    for number in range(int(rng.integers(1, 4))):
        # As many short ones as long ones.
        length_us = min(round(0.2 * 100 ** rng.random() * _S), link.length_us // 3)
        begin_us = round(rng.uniform(0, link.length_us - length_us - 0.1 * link.length_us))
        link.stalls.append((begin_us, begin_us + length_us))
        link.parameters[f"stall_{number}"] = _span(begin_us, length_us)


def slow(link: Link, rng: np.random.Generator) -> None:
    """Be 5 to 20 % too slow for some time."""
    length_us = min(round(rng.uniform(5, 25) * _S), link.length_us // 2)
    begin_us = round(rng.uniform(0, link.length_us - length_us - 0.2 * link.length_us))
    too_slow = rng.uniform(0.05, 0.2)
    link.slow = begin_us, begin_us + length_us, 1 / (1 - too_slow)
    link.parameters |= {"slow": _span(begin_us, length_us), "too_slow": round(too_slow, 3)}


def step(link: Link, rng: np.random.Generator) -> None:
    """Be late by 0.3 to 0.8 s for some time: in the beginning, in the middle, or to the end."""
    delay_us = round(rng.uniform(0.3, 0.8) * _S)
    kind = str(rng.choice(("first", "middle", "middle", "last")))
    begin_us, end_us = 0, 2_500_000
    if kind != "first":
        begin_us = round(rng.uniform(0.1, 0.6) * link.length_us)
        end_us = begin_us + min(round(rng.uniform(1, 8) * _S), round(0.2 * link.length_us))
    if kind == "last":
        link.lasts_from_us, end_us = begin_us, 2 * link.length_us
    link.steps.append((begin_us, end_us, delay_us))
    length_us = min(end_us, link.length_us) - begin_us
    link.parameters |= {"step": kind, "step_at": _span(begin_us, length_us), "delay_ms": delay_us // 1000}


def connect_backlog(link: Link, rng: np.random.Generator) -> None:
    """Connect late, and bring at once what was said before."""
    link.joined_us = round(rng.uniform(0.5, 2) * _S)
    link.parameters["backlog_ms"] = link.joined_us // 1000


def outage(link: Link, rng: np.random.Generator) -> None:
    """Lose the socket, and bring on the next one what was said meanwhile."""
    length_us = min(round(rng.uniform(0.5, 10) * _S), link.length_us // 4)
    begin_us = round(rng.uniform(0.1, 0.6) * link.length_us)
    link.outages.append((begin_us, begin_us + length_us))
    link.parameters["outage"] = _span(begin_us, length_us)


def late_tail(link: Link, rng: np.random.Generator) -> None:
    """Jitter by 150 to 450 ms in the last frames."""
    length_us = round(rng.uniform(0.3, 1) * _S)
    link.tail = link.length_us - length_us, 150_000, 450_000
    link.parameters["tail_ms"] = length_us // 1000


def hang_up_in_stall(link: Link, rng: np.random.Generator) -> None:
    """Stall, and bring everything at once at the end."""
    length_us = min(round(rng.uniform(0.3, 8) * _S), link.length_us // 3)
    link.stalls.append((link.length_us - length_us, link.length_us + 20_000))
    link.parameters["last_stall_ms"] = length_us // 1000


LINKS: dict[str, Callable[[Link, np.random.Generator], None]] = {
    "clean": clean,
    "jitter": jitter,
    "stalls": stalls,
    "slow": slow,
    "step of delay": step,
    "connect backlog": connect_backlog,
    "outage": outage,
    "late tail": late_tail,
    "hang-up in a stall": hang_up_in_stall,
}
TWO = "two at once"


def draw_link(names: tuple[str, ...], length_us: int, rng: np.random.Generator) -> Link:
    """Return a link on which all of these happen to a leg of this length."""
    link = Link(length_us)
    for name in names:
        LINKS[name](link, rng)
    return link


def _span(begin_us: int, length_us: int) -> str:
    return f"{begin_us / _S:.2f}+{length_us / _S:.2f}"
