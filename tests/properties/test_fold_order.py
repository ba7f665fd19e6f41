"""With timestamps: whatever is lost, doubled or overtaken within the window, each frame is where it belongs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.folding import folded, noise
from tests.support.journal_script import Script
from wavstream.model.audio import TrackClock

FRAMES = 250
some = st.integers(1, FRAMES - 2)
delays_ms = st.integers(1, 190)


@examples(100)
@given(
    delayed=st.dictionaries(some, delays_ms, max_size=40),
    doubled=st.dictionaries(some, delays_ms, max_size=20),
    lost=st.sets(some, max_size=30),
    clock_ms=st.sampled_from((200, 500)),
)
def test_frames_within_the_window_come_out_in_place(
    delayed: dict[int, int], doubled: dict[int, int], lost: set[int], clock_ms: int
) -> None:
    script, sound = Script().start(), noise(FRAMES * 0.02)
    leg = script.open(script.facts("a", clock=TrackClock.TIMESTAMPED))
    sent = [(number * 20 + delayed.get(number, 0), number) for number in range(FRAMES)]
    sent += [(number * 20 + delayed.get(number, 0) + later_ms, number) for number, later_ms in doubled.items()]
    sent = [(at_ms, number) for at_ms, number in sent if number not in lost]
    for at_ms, number in sent:
        leg.position = number * 160
        leg.frame(sound[number * 160 : (number + 1) * 160], at_us=at_ms * 1000)
    made = folded(script.stop(6.0, end_s=5.0), clock_s=clock_ms / 1000)
    for number in lost:
        sound[number * 160 : (number + 1) * 160] = 0
    assert (made.left == sound).all()
    told = made.integrity
    assert told.lost_ms == sum(gap.length_ms for gap in told.gaps) == 20 * len(lost)
    assert told.duplicate_frames == len(sent) - FRAMES + len(lost)
    assert (told.late_frames, told.clock_restarts) == (0, 0)
