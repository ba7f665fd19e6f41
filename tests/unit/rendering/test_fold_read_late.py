"""The last words of a call that a busy server reads late follow what was said before: no silence was there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.folding import folded, noise
from tests.support.journal_script import T0_US, Leg, Script
from tests.support.listened import always, listened, whole
from wavstream.journal import events
from wavstream.model.audio import TrackClock
from wavstream.model.options import ChannelLayout, FileFormat, RecordingOptions
from wavstream.model.recording import EndReason
from wavstream.sessions.reading import ReadingTime

HZ = 8000
TICK_S = 0.015
CALL_S = 8.0
ENDS = pytest.mark.parametrize("end", ["hang up", "are lost", "stop", "digit"])
LATE_S = pytest.mark.parametrize("late_s", [0.05, 0.134, 0.2, 0.3, 0.5, 0.65])


LEGS = (("a", 1), ("b", 2))


def batches_s(frames: int) -> NDArray[np.float64]:
    """Return when each frame of a call is there, if five come together."""
    return np.asarray((np.arange(frames) // 5 * 5 + 4) * 0.02, np.float64)


def end_with(script: Script, legs: list[Leg], end: str, at_s: float, *, late_s: float) -> Script:
    """End a call in one way, as it was read then; ``late_s``: how late the server knows that it has read."""
    late_us = round(late_s * 1e6)
    if end == "digit":
        return script.event(at_s, events.Digit(stream=legs[0].facts.stream, digit="#", late_us=late_us), rank=2)
    for leg in legs if end != "stop" else ():
        closed = events.StreamClosed(stream=leg.facts.stream, clean=end == "hang up", late_us=late_us)
        script.event(at_s, closed, rank=2)
    reason = EndReason.STOPPED if end == "stop" else EndReason.HANGUP
    stopped = events.RecordingStopped(
        recording_id=script.recording_id, reason=reason, end_us=T0_US + round(at_s * 1e6), late_us=late_us
    )
    return script.event(at_s, stopped, rank=3)


def last_read_late(
    late_s: float, end: str, *, legs: str = "ab", told_s: float | None = None,
    clock: TrackClock = TrackClock.CONTIGUOUS, options: RecordingOptions | None = None,
) -> Script:  # fmt: skip
    """Return a call of two legs, read in batches of 0.1 s; of ``legs`` the last of these came late.

    The one before it had come late too, by a little: a server that is busy is so for a while.
    """
    script = Script().start(options or RecordingOptions(terminators="#"))
    speaking = []
    for leg, seed in LEGS:
        frames = round(CALL_S * 50)
        came_s = batches_s(frames)
        if leg in legs:
            came_s[-10:-5] += 0.06 * min(1.0, late_s / 0.2)
            came_s[-5:] += late_s
        speaking.append(script.open(script.facts(leg, clock=clock)))
        speaking[-1].send(noise(CALL_S, seed=seed), at_s=0.0, arrivals_s=came_s)
    script.read_together(5)
    told_s = late_s if told_s is None else told_s
    return end_with(script, speaking, end, CALL_S + late_s + 0.01, late_s=told_s)


@ENDS
@LATE_S
@pytest.mark.parametrize("legs", ["a", "b", "ab"])
def test_what_is_read_late_before_an_end_lies_where_it_was_said(late_s: float, end: str, legs: str) -> None:
    made = folded(last_read_late(late_s, end, legs=legs))
    assert (made.left[: round(CALL_S * HZ)] == noise(CALL_S)).all()
    assert (made.right[: round(CALL_S * HZ)] == noise(CALL_S, seed=2)).all()
    assert made.integrity.gaps == ()
    assert made.integrity.late_frames == 0


@LATE_S
@pytest.mark.parametrize("clock", list(TrackClock))
def test_so_it_does_whatever_its_clock(late_s: float, clock: TrackClock) -> None:
    made = folded(last_read_late(late_s, "hang up", clock=clock))
    assert (made.left[: round(CALL_S * HZ)] == noise(CALL_S)).all()
    assert made.integrity.gaps == ()


@LATE_S
@pytest.mark.parametrize("channels", list(ChannelLayout))
@pytest.mark.parametrize("form", list(FileFormat))
def test_so_it_does_in_every_kind_of_file(late_s: float, channels: ChannelLayout, form: FileFormat) -> None:
    options = RecordingOptions(channels=channels, format=form)
    late, on_time = (last_read_late(by_s, "hang up", options=options) for by_s in (late_s, 0.0))
    file, expected = whole(late)[0], whole(on_time)[0]
    # The file ends when the hang-up was read: with silence, of which MP3 is not the same in every block.
    assert file[: len(expected) - 4000] == expected[: len(expected) - 4000]


@LATE_S
def test_who_listens_changes_nothing_and_hears_it_there(late_s: float) -> None:
    script = last_read_late(late_s, "hang up")
    made = listened(script, always)
    assert made.audio == whole(script)[0]
    assert made.audio.startswith(made.heard)


@pytest.mark.parametrize("silent_s", [0.7, 1.0, 3.0])
@pytest.mark.parametrize("late_s", [0.05, 0.3, 0.65])
def test_silence_that_is_longer_than_we_were_late_is_silence(silent_s: float, late_s: float) -> None:
    script, voice = Script().start(), noise(6.0)
    came_s = batches_s(300)
    came_s[250:] += silent_s
    came_s[-5:] += late_s
    leg = script.open("a").send(voice, at_s=0.0, arrivals_s=came_s)
    script.read_together(5)
    made = folded(end_with(script, [leg], "hang up", 6.0 + silent_s + late_s + 0.01, late_s=late_s))
    words = round((5.0 + silent_s) * HZ)
    assert (made.left[: 5 * HZ] == voice[: 5 * HZ]).all()
    assert not made.left[5 * HZ : words].any()
    assert (made.left[words : words + HZ] == voice[5 * HZ :]).all()


def test_what_we_did_not_read_late_is_silence_as_before() -> None:
    made = folded(last_read_late(0.65, "hang up", told_s=0.0))
    assert [gap.cause for gap in made.integrity.gaps] == ["stall"] * 4


# ---- a loop that is late, and what it tells of that ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the loop."""

    length_s: float
    read_at: float
    """Where in it the call's sockets are read: 0 to 1."""


BUSY = st.builds(Turn, st.floats(0.015, 0.33), st.floats(0.0, 0.99))


def turns(busy: list[Turn]) -> Iterator[Turn]:
    """Yield the turns of a loop that is on time until it is busy, which it is to the end."""
    busy_s = sum(turn.length_s for turn in busy)
    yield from [Turn(TICK_S, 0.0)] * max(0, round((CALL_S - busy_s) / TICK_S))
    while True:
        yield from busy


def read_by(busy: list[Turn]) -> tuple[NDArray[np.float64], float, int]:
    """Return when each frame was read, of batches of 0.1 s, when the end was, and how late that was told to be."""
    reading, now_s, came_s = ReadingTime(), 0.0, batches_s(round(CALL_S * 50))
    read_s = np.full(len(came_s), np.nan)
    for turn in turns(busy):
        reading.tick(T0_US + round(now_s * 1e6))  # no turn is so long that it is time in which nothing was read
        at_s = now_s + turn.length_s * turn.read_at
        read_s[(came_s <= now_s) & np.isnan(read_s)] = at_s
        if not np.isnan(read_s).any():
            return read_s, at_s, reading.late_us(T0_US + round(at_s * 1e6))
        now_s += turn.length_s
    raise AssertionError


@given(busy=st.lists(BUSY, min_size=1, max_size=25), end=st.sampled_from(["hang up", "are lost", "stop", "digit"]))
@example(busy=[Turn(0.11, 0.8), Turn(0.09, 0.3)], end="are lost")
@example(busy=[Turn(0.06, 0.5), Turn(0.3, 0.9)], end="stop")
def test_a_loop_however_busy_leaves_no_hole_before_the_end(busy: list[Turn], end: str) -> None:
    came_s, end_s, late_us = read_by(busy)
    script = Script().start(RecordingOptions(terminators="#"))
    legs = [script.open(leg).send(noise(CALL_S, seed=seed), at_s=0.0, arrivals_s=came_s) for leg, seed in LEGS]
    script.read_together(5)
    made = folded(end_with(script, legs, end, end_s + 0.001, late_s=late_us / 1e6))
    assert made.integrity.gaps == ()
    assert made.integrity.late_frames == 0
    assert len(made.left) >= round(CALL_S * HZ)
