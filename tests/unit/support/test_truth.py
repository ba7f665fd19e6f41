"""A machine that is too slow to tell is told from a recording that is wrong."""

from __future__ import annotations

import pytest

from tests.support.truth import EXACT_S, MOST_S, PLAYS, MachineTooSlow, Truth, again_if_too_slow


def test_the_tolerance_grows_with_the_longest_standstill_up_to_its_bound() -> None:
    assert Truth().within_s == EXACT_S
    assert Truth(still_s=0.03).within_s == pytest.approx(0.08)
    with pytest.raises(MachineTooSlow, match=r"stood still for 0\.066 s: too slow to tell"):
        _ = Truth(still_s=(MOST_S - EXACT_S) / 2 + 0.001).within_s


@pytest.mark.parametrize(("standstills_s", "played"), [([0.0], 1), ([0.2, 0.0], 2), ([0.2, 0.2, 0.0], PLAYS)])
async def test_a_call_is_played_again_where_the_machine_was_too_slow(standstills_s: list[float], played: int) -> None:
    sessions: list[str] = []

    async def play(session_id: str) -> float:
        sessions.append(session_id)
        return Truth(still_s=standstills_s.pop(0)).within_s

    assert await again_if_too_slow(play) == EXACT_S
    assert len(set(sessions)) == played


@pytest.mark.parametrize(("error", "played"), [(MachineTooSlow(0.2), PLAYS), (AssertionError("wrong"), 1)])
async def test_what_goes_wrong_every_time_is_said_and_what_is_wrong_is_not_tried_again(
    error: Exception, played: int
) -> None:
    sessions: list[str] = []

    async def play(session_id: str) -> None:
        sessions.append(session_id)
        raise error

    with pytest.raises(type(error)):
        await again_if_too_slow(play)
    assert len(sessions) == played
