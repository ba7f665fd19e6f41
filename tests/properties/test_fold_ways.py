"""Whether a stretch goes the direct way or frame by frame changes nothing in the file or its receipt."""

from __future__ import annotations

from itertools import pairwise
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.calls import Call, calls
from tests.support.examples import examples
from tests.support.folding import noise
from tests.support.journal_script import Script
from tests.support.torture import draw_call
from wavstream.journal.records import ClockRecord, Item
from wavstream.model.audio import TrackClock
from wavstream.rendering.account import FileAccount
from wavstream.rendering.fold import Fold
from wavstream.rendering.timeline import lane
from wavstream.rendering.timeline.clock import Patience
from wavstream.rendering.timeline.lane import Lane

WAITS = (Patience(), Patience(settle_us=400_000))
"""The usual one, and one that soon lets a track go the direct way."""


def fold_in(parts: list[list[Item]], patience: Patience = WAITS[0]) -> tuple[bytes, bytes, FileAccount, list[str]]:
    fold = Fold("rec-1", patience=patience)
    audio = b"".join(fold.feed(part) for part in parts)
    return audio, fold.header(), fold.account(), fold.remarks


def frame_by_frame(items: list[Item], patience: Patience = WAITS[0]) -> tuple[bytes, bytes, FileAccount, list[str]]:
    with patch.object(lane, "whole", lambda *_: None):
        return fold_in([items], patience)


def parts_of(items: list[Item], cuts: list[float]) -> list[list[Item]]:
    at = [0, *sorted(round(cut * len(items)) for cut in cuts), len(items)]
    return [items[low:high] for low, high in pairwise(at)]


@examples(200)
@given(
    call=calls(with_reads=True, with_options=True),
    clock_s=st.sampled_from((0.3, 0.45, 0.5, 1.9)),
    cuts=st.lists(st.floats(0, 1), max_size=6),
    patience=st.sampled_from(WAITS),
)
def test_any_journal_gives_the_same_file_and_receipt_either_way(
    call: Call, clock_s: float, cuts: list[float], patience: Patience
) -> None:
    items = call.script.items(clock_s=clock_s)
    assert fold_in(parts_of(items, cuts), patience) == frame_by_frame(items, patience)


@pytest.mark.parametrize("number", range(16))
def test_real_senders_on_real_links_are_recorded_the_same_either_way(number: int) -> None:
    script = draw_call(3, number).script.read_together(1 + number % 6)
    items = script.items(clock_s=0.45)
    assert fold_in([items]) == frame_by_frame(items)


@pytest.mark.parametrize("clock", [TrackClock.CONTIGUOUS, TrackClock.TIMESTAMPED])
@pytest.mark.parametrize("frames", [1, 5])
def test_a_plain_call_goes_the_direct_way(frames: int, clock: TrackClock) -> None:
    script = Script().start()
    for number, name in enumerate("ab"):
        leg = script.open(script.facts(name, clock=clock), at_s=0.0)
        leg.position = 80_003 if clock is TrackClock.TIMESTAMPED else 0
        leg.send(noise(20, seed=number), at_s=0.003 * number)
    script.read_together(frames)
    items = script.stop(20).items(clock_s=0.45)
    with patch.object(Lane, "place_whole", autospec=True, side_effect=Lane.place_whole) as placed:
        direct = fold_in([items])
    # Each clock record that decides something places a stretch of each leg, but for the 5 s that settle them.
    points = sum(isinstance(item, ClockRecord) for item in items) // 2
    assert placed.call_count > 2 * (points - 8)
    assert direct == frame_by_frame(items)


@pytest.mark.parametrize("late_s", [0.015, 0.06, 0.2])
def test_a_call_on_a_link_that_jitters_goes_the_direct_way_where_a_stretch_ends_on_time(late_s: float) -> None:
    script = Script().start()
    for number, leg in enumerate("ab"):
        stream, audio = script.open(leg, at_s=0.0), noise(20, seed=number)
        for at in range(1_000):
            # Every half second the link stands still for a moment, and what it held back comes at once.
            held_s = max(0.0, late_s - at % 25 * 0.02) + 0.003 * number
            stream.frame(audio[160 * at : 160 * (at + 1)], at_us=round((at * 0.02 + held_s) * 1e6))
    items = script.stop(20).items(clock_s=0.45)
    with patch.object(Lane, "place_whole", autospec=True, side_effect=Lane.place_whole) as placed:
        direct = fold_in([items])
    points = sum(isinstance(item, ClockRecord) for item in items) // 2
    assert placed.call_count > 2 * (points - 8)
    assert direct == frame_by_frame(items)
