"""The cooldown of a command, in virtual time."""

from __future__ import annotations

import pytest

from wavstream.api.gateway.commands import Cooldown
from wavstream.errors import TooSoon

SECOND_US = 1_000_000


def test_it_lasts_from_what_was_done_to_the_microsecond_and_says_how_long_in_whole_seconds_rounded_up() -> None:
    cooldown = Cooldown(2 * SECOND_US)
    cooldown.check("a", 0)
    cooldown.begin("a", 0)
    for now_us, left_s in ((0, 2), (999_999, 2), (SECOND_US, 1), (2 * SECOND_US - 1, 1)):
        with pytest.raises(TooSoon) as refused:
            cooldown.check("a", now_us)
        assert refused.value.retry_after_s == left_s
    cooldown.check("a", 2 * SECOND_US)
    cooldown.check("b", 0)


def test_what_is_over_is_forgotten() -> None:
    cooldown = Cooldown(2 * SECOND_US)
    for number in range(100):
        cooldown.begin(number, number * SECOND_US)
    assert len(cooldown) == 2
    with pytest.raises(TooSoon):
        cooldown.check(99, 100 * SECOND_US)


def test_a_key_that_is_done_again_is_kept_for_its_new_cooldown() -> None:
    cooldown = Cooldown(2 * SECOND_US)
    cooldown.begin("a", 0)
    cooldown.begin("b", SECOND_US)
    cooldown.begin("a", 2 * SECOND_US)
    cooldown.begin("c", 3 * SECOND_US)
    with pytest.raises(TooSoon):
        cooldown.check("a", 4 * SECOND_US - 1)
