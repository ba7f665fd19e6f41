"""What of an outbound track another leg says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from wavstream.model.audio import Track
from wavstream.rendering.timeline.cover import Cover

HZ, BLOCK = 8000, 160
HEARD, SAID = ("a", Track.OUTBOUND), ("b", Track.INBOUND)


def sound(length_s: float, peak: int) -> NDArray[np.int16]:
    """Return a square wave, (n,)."""
    return np.resize(np.array([peak, -peak], np.int16), round(length_s * HZ))


def mixed(
    heard: NDArray[np.int16], said: NDArray[np.int16], *, said_at_s: float = 0.0, cuts: tuple[int, ...] = ()
) -> NDArray[np.int16]:
    """Return what is mixed of what a leg hears, zeros where it is redundant, cut at these samples."""
    cover, out = Cover(HZ), np.zeros_like(heard)
    starts = (0, *cuts, len(heard))
    for start, end in itertools.pairwise(starts):
        first = round(said_at_s * HZ)
        low, high = max(start, first), min(end, first + len(said))
        pieces = [(low - start, said[low - first : high - first])] if low < high else []
        (_, _), (kept, redundant) = cover.uncovered(start, end, [(SAID, pieces), (HEARD, [(0, heard[start:end])])])
        for row, samples in kept:
            out[start + row : start + row + len(samples)] = samples
        assert redundant == end - start - sum(len(samples) for _, samples in kept)
    return out


def test_what_another_leg_says_is_redundant_and_for_half_a_second_behind_it() -> None:
    heard = sound(3, 1000)
    out = mixed(heard, sound(1, 1000), said_at_s=1)
    assert (out[:HZ] == heard[:HZ]).all()
    assert not out[HZ : 2 * HZ + HZ // 2].any()
    assert (out[2 * HZ + HZ // 2 :] == heard[2 * HZ + HZ // 2 :]).all()


@pytest.mark.parametrize(("peak", "is_covered"), [(0, False), (1, False), (249, False), (250, True), (32767, True)])
def test_only_what_is_at_least_a_quarter_as_loud_covers(peak: int, is_covered: bool) -> None:
    out = mixed(sound(1, 1000), sound(1, peak))
    assert out.any() != is_covered


def test_the_loudest_negative_sample_is_loud() -> None:
    said = np.zeros(HZ, np.int16)
    said[::BLOCK] = -32768
    assert not mixed(sound(1, 8000), said).any()


def test_what_a_leg_says_itself_covers_nothing_of_what_it_hears() -> None:
    tracks = [(("a", Track.INBOUND), [(0, sound(1, 1000))]), (HEARD, [(0, sound(1, 1000))])]
    _, (kept, redundant) = Cover(HZ).uncovered(0, HZ, tracks)
    assert redundant == 0
    assert len(kept) == 1


def test_it_does_not_depend_on_how_far_the_file_is_written_each_time() -> None:
    random = np.random.default_rng(5)
    heard, said = sound(4, 1000), (sound(4, 1000) * (np.arange(4 * HZ) // 1777 % 3 == 0)).astype(np.int16)
    whole = mixed(heard, said, cuts=(2 * HZ,))
    blocks = np.unique(random.integers(1, 4 * HZ // BLOCK, 9)) * BLOCK
    assert (mixed(heard, said, cuts=tuple(blocks.tolist())) == whole).all()


def test_a_block_that_is_written_in_two_parts_is_covered_by_what_its_first_part_had() -> None:
    said = np.zeros(HZ, np.int16)
    said[10] = 1000
    out = mixed(sound(1, 1000), said, cuts=(100,))
    assert not out[:BLOCK].any()
