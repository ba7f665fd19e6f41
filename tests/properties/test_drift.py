"""Whatever a link does to a track, its clock is watched without a fault and without a jump."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wavstream.rendering.timeline.drift import Drift

PTIME_US = 20_000
MOST_PPM = 2_000

placed = st.tuples(
    st.integers(1, 200),  # frames that are placed together
    st.sampled_from([0, 20_000, 2_000_000, 30_000_000]),  # pause before them, us
    st.sampled_from([0, 5_000, 25_000, 400_000, 3_000_000]),  # delay of the first, us
    st.booleans(),  # whether silence has ended before them
)


@given(st.lists(placed, min_size=1, max_size=60), st.integers(-MOST_PPM, MOST_PPM), st.sampled_from([0, 60_000]))
def test_any_order_of_bursts_stalls_and_silences_is_watched(
    stretches: list[tuple[int, int, int, bool]], ppm: int, put_off_us: int
) -> None:
    drift = Drift(8_000)
    drift.start(put_off_us=put_off_us)
    sent_us = 0
    for frames, pause_us, delay_us, after_silence in stretches:
        if after_silence:
            drift.end_at_silence(delay_us)
        sent_us += pause_us
        sent = sent_us + np.arange(frames, dtype=np.int64) * PTIME_US
        sent_us = int(sent[-1]) + PTIME_US
        late = sent * ppm // 1_000_000
        late[0] += delay_us
        arrivals = np.maximum.accumulate(sent + late)
        drift.watch(arrivals, arrivals - sent)
        bend = drift.bend(frames * 160)
        # 4000 ppm by rule 5, and the clock's own beside it.
        assert bend is None or abs(bend.change) <= frames * 160 * 6_300e-6 * (1 << 32) + 1
        assert len(drift.behind_us(arrivals)) == frames
        assert abs(drift.ppm) <= 2_200 or drift.known_us < 20_000_000
