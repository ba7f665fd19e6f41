"""The tone at a recording's start."""

from __future__ import annotations

import numpy as np
import pytest

from wavstream.rendering.mixer.mix import beep


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 48_000])
def test_a_beep_is_one_tone_of_200_ms_that_neither_clips_nor_clicks(rate_hz: int) -> None:
    tone = beep(rate_hz).astype(float)
    assert len(tone) == rate_hz // 5
    # A window brings the lines of the spectrum down where the ramps would smear them.
    spectrum = np.abs(np.fft.rfft(tone * np.hanning(len(tone)), rate_hz))
    assert spectrum.argmax() == 1_400
    assert spectrum[: 1_400 - 100].max() < spectrum.max() / 300
    assert 20 * np.log10(np.abs(tone).max() / 32_768) == pytest.approx(-12, abs=0.1)
    assert np.abs(tone[[0, -1]]).max() < 20
