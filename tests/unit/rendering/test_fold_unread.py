"""While the server does not read its sockets nobody has said nothing: what was said lies where it was said."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.folding import Folded, folded, noise
from tests.support.journal_script import T0_US, Script
from tests.support.listened import always, listened, whole
from tests.unit.rendering.test_fold_early_ends import words
from wavstream.journal import events
from wavstream.journal.records import ClockRecord
from wavstream.model.audio import TrackClock
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import EndReason
from wavstream.rendering.fold import Fold

HZ = 8000
FROM_S = 4.1
KINDS = pytest.mark.parametrize("stands_still", [True, False], ids=["process stands still", "queue is full"])
LENGTHS = pytest.mark.parametrize("length_s", [1.0, 5.0, 15.0, 45.0, 150.0])


def read_late(length_s: float, *, from_s: float, to_s: float, speed: float = 100.0) -> NDArray[np.float64]:
    """Return when each frame is read of a call whose server reads nothing for a while, and then what is there."""
    due_s = np.arange(round(length_s * 50)) * 0.02
    missed_s = due_s - from_s
    read_s = np.where(missed_s < 0, due_s, np.maximum(due_s, to_s + missed_s / speed))
    return np.maximum.accumulate(read_s)


@KINDS
@LENGTHS
@pytest.mark.parametrize("clock", list(TrackClock))
def test_what_was_said_while_nothing_was_read_lies_where_it_was_said(
    stands_still: bool, length_s: float, clock: TrackClock
) -> None:
    call_s, to_s = length_s + 20.0, FROM_S + length_s
    came_s = read_late(call_s, from_s=FROM_S, to_s=to_s)
    a, b = noise(call_s), noise(call_s, seed=2)
    script = Script().start().unread(FROM_S, to_s, stands_still=stands_still)
    script.open(script.facts("a", clock=clock)).send(a, at_s=0.0, arrivals_s=came_s)
    script.open(script.facts("b", clock=clock)).send(b, at_s=0.0, arrivals_s=came_s)
    made = folded(script.stop(call_s))
    assert made.samples.shape == (round(call_s * HZ), 2)
    assert (made.left == a).all()
    assert (made.right == b).all()
    assert made.integrity.gaps == ()
    assert made.integrity.late_frames == 0


@KINDS
@LENGTHS
def test_who_listens_meanwhile_hears_it_there_too(stands_still: bool, length_s: float) -> None:
    call_s, to_s = length_s + 20.0, FROM_S + length_s
    came_s = read_late(call_s, from_s=FROM_S, to_s=to_s)
    script = Script().start().unread(FROM_S, to_s, stands_still=stands_still)
    script.open("a").send(noise(call_s), at_s=0.0, arrivals_s=came_s)
    script.open("b").send(noise(call_s, seed=2), at_s=0.0, arrivals_s=came_s)
    made = listened(script.stop(call_s), always)
    assert made.audio == whole(script)[0]
    assert len(made.heard) > 0.9 * len(made.audio)
    assert made.audio.startswith(made.heard)


@KINDS
@LENGTHS
def test_a_silence_timeout_does_not_take_it_for_silence(stands_still: bool, length_s: float) -> None:
    call_s, to_s = length_s + 30.0, FROM_S + length_s
    speech = words(*np.arange(1.0, to_s + 4.0, 2.0).tolist(), length_s=call_s)
    came_s = read_late(call_s, from_s=FROM_S, to_s=to_s)
    script = Script().start(RecordingOptions(end_silence_timeout_s=5.0)).unread(FROM_S, to_s, stands_still=stands_still)
    script.open("a").send(speech, at_s=0.0, arrivals_s=came_s)
    script.open("b").send(speech // 50, at_s=0.0, arrivals_s=came_s)
    made = folded(script.stop(call_s))
    assert made.fold.ended is not None
    assert made.fold.ended.reason is EndReason.SILENCE
    last_word_s = np.flatnonzero(speech)[-1] / HZ
    assert len(made.samples) / HZ == pytest.approx(last_word_s + 5.0, abs=0.4)
    assert (made.left == speech[: len(made.samples)]).all()


@KINDS
def test_a_leg_that_was_lost_before_it_is_waited_for_in_full_after_it(stands_still: bool) -> None:
    script = Script().start().unread(10.0, 80.0, stands_still=stands_still)
    script.open("a").send(noise(110.0), at_s=0.0, arrivals_s=read_late(110.0, from_s=10.0, to_s=80.0))
    said = noise(110.0, seed=2)
    script.open("b").send(said[: 8 * HZ], at_s=0.0).close(8.0, clean=False)
    said[8 * HZ : 65 * HZ] = 0
    # It is back with the last of what it had said meanwhile.
    back = script.open("b", at_s=80.0)
    back.send(said[65 * HZ :], at_s=80.0, arrivals_s=read_late(110.0, from_s=65.0, to_s=80.0)[65 * 50 :])
    made = folded(script.stop(110.0))
    assert (made.right == said).all()


def test_a_stop_that_waited_for_what_was_said_before_it_cuts_what_was_said_after_it() -> None:
    came_s = read_late(20.0, from_s=5.0, to_s=12.0)
    script = Script().start().unread(5.0, 12.0)
    script.open("a").send(noise(20.0), at_s=0.0, arrivals_s=came_s)
    script.open("b").send(noise(20.0, seed=2), at_s=0.0, arrivals_s=came_s)
    asked_us = T0_US + 7_000_000
    script.event(
        12.6,
        events.RecordingStopped(recording_id="rec-1", reason=EndReason.STOPPED, end_us=asked_us, cuts=True),
    )
    made = folded(script)
    assert (made.left == noise(20.0)[: 7 * HZ]).all()
    assert len(made.right) == 7 * HZ
    assert made.fold.complete
    assert made.fold.ended is not None
    assert made.fold.ended.reason is EndReason.STOPPED
    assert made.integrity.after_limit_ms > 0


@KINDS
@pytest.mark.parametrize("before_s", [0.5, 1.0, 3.0, 5.5])
def test_who_hangs_up_while_nothing_is_read_ends_where_it_hung_up(stands_still: bool, before_s: float) -> None:
    to_s, length_s = FROM_S + 6.0, FROM_S + before_s
    came_s = read_late(length_s, from_s=FROM_S, to_s=to_s)
    voice = noise(length_s)[: round(length_s * 50) * 160]
    script = Script().start().unread(FROM_S, to_s, stands_still=stands_still)
    for leg, seed in (("a", 1), ("b", 2)):
        speaks = script.open(leg)
        speaks.send(noise(length_s, seed=seed)[: len(voice)], at_s=0.0, arrivals_s=came_s)
        speaks.close(float(came_s[-1]) + 0.05)
    made = folded(script.stop(to_s + 0.2))
    assert (made.left[: len(voice)] == voice).all()
    assert made.integrity.gaps == ()


def restarted(timeout_s: float, *, down_s: float, after: tuple[float, ...] = (0.5, 4.0, 7.0)) -> Folded:
    """Fold a call of two legs that are back two seconds after a server that was down; ``after``: and then speak."""
    speech, back_s = words(0.5, 4.0, 7.0, length_s=10.0), 12.0 + down_s
    speech_after = words(*after, length_s=10.0)
    script = Script().start(RecordingOptions(end_silence_timeout_s=timeout_s))
    for leg, voice in (("a", speech), ("b", speech // 50)):
        script.open(leg).send(voice, at_s=0.0)
    script.event(10.0 + down_s, events.ServerStarted())
    for leg, voice in (("a", speech_after), ("b", speech_after // 50)):
        script.open(leg, at_s=back_s).send(voice, at_s=back_s)
    script.stop(back_s + 10.0)
    down = (T0_US + 10_000_000, T0_US + round((10.0 + down_s) * 1e6))
    items = [
        item for item in script.items() if not (isinstance(item, ClockRecord) and down[0] < item.arrival_us <= down[1])
    ]
    fold = Fold(script.recording_id)
    audio = fold.feed(items)
    return Folded(fold, np.frombuffer(audio, "<i2").reshape(-1, 2), fold.account())


@pytest.mark.parametrize("timeout_s", [2.0, 5.0])
@pytest.mark.parametrize("down_s", [0.5, 4.0, 20.0])
def test_while_the_server_is_down_nobodys_silence_counts(timeout_s: float, down_s: float) -> None:
    made = restarted(timeout_s, down_s=down_s)
    assert made.fold.ended is not None
    assert made.fold.ended.reason is EndReason.STOPPED
    assert len(made.left) == round((22.0 + down_s) * HZ)


def test_silence_after_a_restart_counts_as_ever() -> None:
    made = restarted(5.0, down_s=4.0, after=(0.5,))
    assert made.fold.ended is not None
    assert made.fold.ended.reason is EndReason.SILENCE
