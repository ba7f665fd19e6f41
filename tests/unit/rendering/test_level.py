from __future__ import annotations

import numpy as np
import pytest

from wavstream.rendering.mixer.mix import levels_dbfs


def test_a_sine_of_full_scale_has_a_peak_of_0_and_an_rms_of_minus_3() -> None:
    sine = np.rint(32_767 * np.sin(2 * np.pi * np.arange(800) / 80)).astype(np.int16)
    assert levels_dbfs(sine) == (-3.0, 0.0)


@pytest.mark.parametrize(("sample", "dbfs"), [(0, -100.0), (1, -90.3), (-32_768, 0.0), (16_384, -6.0)])
def test_silence_has_a_floor_and_the_lowest_sample_does_not_overflow(sample: int, dbfs: float) -> None:
    assert levels_dbfs(np.full(160, sample, np.int16)) == (dbfs, dbfs)
