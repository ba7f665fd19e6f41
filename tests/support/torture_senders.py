"""Senders of the torture bench: which frames a leg sends, when each was said, when it was sent, and how it is stamped.

Times are microseconds from the first moment of the leg. A frame is *due* when its last sample has been said: that is
when an ideal sender sends it over an ideal network. Every sender is exact but for the one thing that it is named for.
All its parameters are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wavstream.model.audio import Track, TrackClock

if TYPE_CHECKING:
    from collections.abc import Callable

Ints: TypeAlias = NDArray[np.int64]
Parameters: TypeAlias = dict[str, float | int | str]

_S = 1_000_000
UNMARKED = (TrackClock.CONTIGUOUS, TrackClock.ARRIVAL)
STAMPED = (TrackClock.TIMESTAMPED,)
PTIMES_MS = (10, 20, 40, 60)
RATES_HZ = (8000, 16000)


@dataclass(slots=True)
class SentTrack:
    """The frames of one track, in order."""

    track: Track
    due_us: Ints
    sent_us: Ints
    """When each is given to the socket."""
    stamps: Ints
    """The media time that each carries, in samples."""


@dataclass(slots=True)
class Sender:
    """What one leg sends."""

    name: str
    clock: TrackClock
    rate_hz: int
    ptime_ms: int
    length_us: int
    tracks: list[SentTrack] = field(default_factory=list)
    parameters: Parameters = field(default_factory=dict)
    is_marked: bool = False
    """Whether its timestamps count the silence that it leaves out."""
    is_stretched: bool = False
    """Whether its clock drifts, so that its samples are not in the file as they were sent."""

    @property
    def ptime_us(self) -> int:
        return self.ptime_ms * 1000

    @property
    def frame(self) -> int:
        """Samples of a frame."""
        return self.rate_hz * self.ptime_ms // 1000

    @property
    def slots(self) -> int:
        """How many frames fit into its time."""
        return self.length_us // self.ptime_us

    def add(self, due_us: Ints, *, sent_us: Ints | None = None, stamps: Ints | None = None) -> None:
        """Add the inbound track; by default each frame is sent when it is due, and stamped or counted truly."""
        if stamps is None:
            stamps = self.true_stamps(due_us) if self.clock is TrackClock.TIMESTAMPED else self.counted(len(due_us))
        self.tracks.append(SentTrack(Track.INBOUND, due_us, due_us if sent_us is None else sent_us, stamps))

    def counted(self, frames: int) -> Ints:
        """Return stamps that count what is sent."""
        return np.arange(frames, dtype=np.int64) * self.frame

    def true_stamps(self, due_us: Ints) -> Ints:
        """Return stamps that tell when each frame began."""
        return (due_us - self.ptime_us) * self.rate_hz // _S

    def due(self, slots: Ints) -> Ints:
        """Return when the frames of these slots are due."""
        return (slots.astype(np.int64) + 1) * self.ptime_us


def talks(sender: Sender, rng: np.random.Generator) -> None:
    """Talk all the time."""
    sender.add(sender.due(np.arange(sender.slots)))


def leaves_silence_out(sender: Sender, rng: np.random.Generator) -> None:
    """Say words, and send nothing between them."""
    longest_s, widest_s = rng.uniform(0.3, 3.0), rng.uniform(0.6, 11.0)
    is_on_grid = bool(rng.random() < 0.5)
    sender.parameters |= {"word_s": round(longest_s, 2), "pause_s": round(widest_s, 2), "on_grid": is_on_grid}
    parts, at_us = [], 0
    while at_us < sender.length_us:
        count = max(1, round(rng.uniform(0.2, longest_s) * _S / sender.ptime_us))
        parts.append(at_us + sender.due(np.arange(count)))
        at_us = int(parts[-1][-1]) + round(rng.uniform(0.3, widest_s) * 1000) * 1000
        if is_on_grid:
            at_us -= at_us % sender.ptime_us
    due_us = np.concatenate(parts)
    sender.is_marked = sender.clock is TrackClock.TIMESTAMPED
    sender.add(due_us[due_us <= max(sender.length_us, int(parts[0][-1]))])


def sends_sparsely(sender: Sender, rng: np.random.Generator) -> None:
    """Send one frame now and then while nobody speaks (DTX)."""
    each_ms = int(rng.choice((160, 200, 400)))
    sender.parameters["dtx_ms"] = each_ms
    every = max(2, each_ms // sender.ptime_ms)
    is_sent = np.zeros(sender.slots, bool)
    at = 0
    while at < sender.slots:
        talk, silence = (round(rng.uniform(low, high) * _S / sender.ptime_us) for low, high in ((1, 6), (1.5, 8)))
        is_sent[at : at + talk] = True
        is_sent[at + talk + every - 1 : at + talk + silence : every] = True
        at += talk + silence
    sender.is_marked = sender.clock is TrackClock.TIMESTAMPED
    sender.add(sender.due(np.flatnonzero(is_sent)))


def misses_some(sender: Sender, rng: np.random.Generator) -> None:
    """Leave 120 ms of each 500 ms out."""
    slots = np.arange(sender.slots)
    phase_ms = int(rng.integers(0, 500))
    sender.is_marked = sender.clock is TrackClock.TIMESTAMPED
    sender.add(sender.due(slots[(slots * sender.ptime_ms + phase_ms) % 500 < 380]))


def drifts(sender: Sender, rng: np.random.Generator) -> None:
    """Talk all the time by a clock that is a little off."""
    ppm = round(rng.uniform(-300, 300))
    sender.parameters["ppm"] = ppm
    sender.is_stretched = True
    due_us = np.round(sender.due(np.arange(sender.slots)) * (1 - ppm / 1e6)).astype(np.int64)
    sender.add(due_us)


def plays_prompts(sender: Sender, rng: np.random.Generator) -> None:
    """Talk all the time, and be played prompts that are sent at once, stamped when they are heard."""
    sender.is_marked = True
    sender.add(sender.due(np.arange(sender.slots)))
    wire_ms, speed = int(rng.integers(0, 301)), float(rng.choice((1.0, 4.0, 10.0, 1000.0)))
    widest_s = rng.uniform(0.5, 8.0)
    sender.parameters |= {"wire_ms": wire_ms, "prompt_speed": speed, "between_s": round(widest_s, 2)}
    heard, sent, slot = [], [], round(rng.uniform(0, 3) * _S / sender.ptime_us)
    while slot < sender.slots:
        count = min(sender.slots - slot, max(1, round(rng.uniform(0.5, 6) * _S / sender.ptime_us)))
        due_us = sender.due(slot + np.arange(count))
        heard.append(due_us)
        sent.append(int(due_us[0]) + ((due_us - due_us[0]) / speed).astype(np.int64) + wire_ms * 1000)
        slot += count + max(1, round(rng.uniform(0, widest_s) * _S / sender.ptime_us))
    if heard:
        due_us = np.concatenate(heard)
        stamps = sender.true_stamps(due_us)
        sender.tracks.append(SentTrack(Track.OUTBOUND, due_us, np.concatenate(sent), stamps))


def mutes_uncounted(sender: Sender, rng: np.random.Generator) -> None:
    """Talk all the time but for mutes, over which the timestamps do not count."""
    is_sent = np.ones(sender.slots, bool)
    mutes = int(rng.integers(1, 4))
    for number in range(mutes):
        # One in each part of the call, so that there is speech around each.
        width = sender.slots // mutes
        length = round(rng.uniform(2, min(10.0, sender.length_us / _S / mutes / 2)) * _S / sender.ptime_us)
        at = number * width + int(rng.integers(width // 8, max(width // 8 + 1, width - length - width // 8)))
        is_sent[at : at + length] = False
        sender.parameters[f"mute_{number}"] = f"{at * sender.ptime_ms / 1000:.2f}+{length * sender.ptime_ms / 1000:.2f}"
    due_us = sender.due(np.flatnonzero(is_sent))
    sender.add(due_us, stamps=sender.counted(len(due_us)))


def stamps_when_sent(sender: Sender, rng: np.random.Generator) -> None:
    """Talk all the time, be held up now and then, and stamp what is sent by the moment of sending."""
    due_us = sender.due(np.arange(sender.slots))
    unsteady_ms = int(rng.integers(0, 5))
    sent_us = due_us + rng.integers(0, unsteady_ms * 1000 + 1, len(due_us))
    held_up = int(rng.integers(1, 6))
    sender.parameters |= {"unsteady_ms": unsteady_ms, "held_up": held_up}
    lengths_us = np.round(rng.uniform(0.2, 1.5, held_up) * _S).astype(np.int64)
    begins_us = np.sort(np.round(rng.uniform(0.05, 0.9, held_up) * (sender.length_us - lengths_us)).astype(np.int64))
    # In order of time: what one lets go may be held by the next.
    for number, (begin_us, length_us) in enumerate(zip(begins_us.tolist(), lengths_us.tolist(), strict=True)):
        is_held = (sent_us >= begin_us) & (sent_us < begin_us + length_us)
        sent_us[is_held] = begin_us + length_us + np.arange(np.count_nonzero(is_held)) * 200
        sender.parameters[f"held_{number}"] = f"{begin_us / _S:.2f}+{length_us / _S:.2f}"
    sent_us = np.maximum.accumulate(sent_us)
    stamps = (sent_us // 1000 - sent_us[0] // 1000) * sender.rate_hz // 1000
    sender.add(due_us, sent_us=sent_us, stamps=stamps)


SENDERS: dict[str, tuple[Callable[[Sender, np.random.Generator], None], tuple[TrackClock, ...]]] = {
    "talks all the time": (talks, (*UNMARKED, *STAMPED)),
    "leaves silence out": (leaves_silence_out, (*UNMARKED, *STAMPED)),
    "sparse frames": (sends_sparsely, (*UNMARKED, *STAMPED)),
    "120 of 500 ms missing": (misses_some, (*UNMARKED, *STAMPED)),
    "drift": (drifts, (TrackClock.CONTIGUOUS,)),
    "prompts": (plays_prompts, STAMPED),
    "uncounted mute": (mutes_uncounted, STAMPED),
    "stamped when sent": (stamps_when_sent, STAMPED),
}
"""By name: how it sends, and the clocks that it may have."""


def draw_sender(name: str, length_s: float, rng: np.random.Generator) -> Sender:
    """Return what a leg with this model sends in so many seconds."""
    send, clocks = SENDERS[name]
    clock = clocks[int(rng.integers(len(clocks)))]
    sender = Sender(name, clock, int(rng.choice(RATES_HZ)), int(rng.choice(PTIMES_MS)), round(length_s * _S))
    send(sender, rng)
    return sender
