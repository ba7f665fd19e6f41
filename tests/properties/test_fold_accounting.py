"""Every accepted sample is in the file, or it is counted."""

from __future__ import annotations

import numpy as np
from hypothesis import given

from tests.support.calls import Call, calls
from tests.support.examples import examples
from tests.support.folding import folded
from tests.support.journal_script import T0_US
from wavstream.model.options import ChannelLayout, PauseBehavior


@examples(150)
@given(call=calls(mixed_formats=False, layout=ChannelLayout.STEREO))
def test_every_accepted_sample_is_in_the_file_or_counted(call: Call) -> None:
    made = folded(call.script)
    # The legs send no zeros and each has a channel of its own, so what is not zero was said.
    in_file_us = int(np.count_nonzero(made.samples)) * 125
    counts = made.integrity
    counted_ms = counts.late_ms + counts.paused_ms + counts.redundant_ms + made.account.before_start_ms
    missing_us = call.accepted_us - in_file_us - counted_ms * 1000
    assert 0 <= missing_us < 4_000, "each of the four counts is rounded down to a millisecond"
    assert counts.samples == made.samples.size
    assert counts.duplicate_frames == call.doubled


@examples(60)
@given(call=calls())
def test_a_file_is_as_long_as_the_call_without_its_pauses(call: Call) -> None:
    made = folded(call.script)
    fold = made.fold
    assert fold.ended is not None
    assert fold.started is not None
    if fold.has_audio:
        skips = fold.started.options.pause_behavior is PauseBehavior.SKIP
        paused_ms = sum(pause.length_ms + 1 for pause in made.integrity.pauses) if skips else 0
        length_ms = made.account.samples * 1000 / made.account.sample_rate
        assert length_ms >= (fold.ended.end_us - T0_US) / 1000 - paused_ms - 1
