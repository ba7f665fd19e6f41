"""The ears of the tests hear what is there, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.listening import beeps, find_beeps


@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100])
@pytest.mark.parametrize("offset_s", [0.0, 0.25, 0.8137])
def test_every_beep_is_found_where_it_starts(rate_hz: int, offset_s: float) -> None:
    sound = beeps(5.0, rate_hz=rate_hz, frequency_hz=600, offset_s=offset_s)
    found = find_beeps(sound, rate_hz, 600)
    assert found == pytest.approx([offset_s + second for second in range(5)], abs=0.001)


def test_a_beep_is_found_under_another_pitch() -> None:
    mixed = beeps(3.0, rate_hz=8000, frequency_hz=600, offset_s=0.3) + beeps(
        3.0, rate_hz=8000, frequency_hz=1000, offset_s=0.35
    )
    assert find_beeps(mixed, 8000, 600) == pytest.approx([0.3, 1.3, 2.3], abs=0.002)
    assert find_beeps(mixed, 8000, 1000) == pytest.approx([0.35, 1.35, 2.35], abs=0.002)


def test_nothing_is_found_in_silence_or_in_another_pitch() -> None:
    assert find_beeps(np.zeros(8000, np.int16), 8000, 600) == []
    assert find_beeps(beeps(2.0, rate_hz=8000, frequency_hz=1000), 8000, 600) == []
    assert find_beeps(np.zeros(10, np.int16), 8000, 600) == []
