"""What a leg does and when: pure, so that an hour takes no time."""

from __future__ import annotations

import pytest

from wavstream.errors import OperatorError
from wavstream.simulator.quirks import (
    Break,
    Chunks,
    Delay,
    Dial,
    Double,
    Drift,
    Drop,
    Gap,
    HangUp,
    Late,
    Quirk,
    Send,
    Stall,
    Step,
    Swap,
    parse_quirk,
    steps,
)

RATE_HZ = 8_000


def planned(seconds: float, *quirks: Quirk) -> list[Step]:
    return list(steps(round(seconds * RATE_HZ), rate_hz=RATE_HZ, quirks=quirks))


def sent(plan: list[Step]) -> list[Send]:
    return [step for step in plan if isinstance(step, Send)]


def test_a_leg_without_quirks_sends_every_sample_once_each_20_ms_and_hangs_up() -> None:
    plan = planned(1.01)
    sends = sent(plan)
    assert plan[0] == Dial(0.0)
    assert plan[-1] == HangUp(1.01)
    assert [step.due_s for step in sends] == pytest.approx([n * 0.02 for n in range(51)])
    assert [step.first for step in sends] == [0, *(step.end for step in sends[:-1])]
    assert sends[-1] == Send(1.0, 8_000, 8_080)


def test_a_leg_plays_an_hour_without_drifting_from_its_start() -> None:
    last = sent(planned(3600))[-1]
    assert last.due_s == pytest.approx(3599.98, abs=1e-6)


def test_a_stall_sends_everything_and_what_it_held_back_at_its_end() -> None:
    sends = sent(planned(4, Stall(at_s=1, for_s=1.5)))
    assert sum(step.end - step.first for step in sends) == 4 * RATE_HZ
    held = [step for step in sends if step.due_s == 2.5]
    assert held[0].first == RATE_HZ
    assert held[-1].end == round(2.5 * RATE_HZ) + 160  # the one that is due then anyway
    assert not [step for step in sends if 1 <= step.due_s < 2.5]


def test_a_stall_past_the_end_of_the_audio_hangs_up_after_the_burst() -> None:
    assert planned(1, Stall(at_s=0.5, for_s=2))[-1] == HangUp(2.5)


def test_a_gap_leaves_its_audio_out_and_what_follows_in_its_place() -> None:
    sends = sent(planned(4, Gap(at_s=1, for_s=2)))
    after = next(step for step in sends if step.due_s >= 1)
    assert after == Send(3.0, 3 * RATE_HZ, 3 * RATE_HZ + 160)
    assert len(sends) == 100


def test_a_drop_breaks_the_connection_and_dials_again_where_the_call_is_by_then() -> None:
    plan = planned(3, Drop(at_s=1, away_s=0.5))
    where = plan.index(Break(1))
    assert plan[where + 1] == Dial(1.5)
    assert plan[where + 2] == Send(1.5, 12_000, 12_160)


def test_a_drop_that_outlasts_the_audio_still_comes_back_to_hang_up() -> None:
    assert planned(1, Drop(at_s=0.5, away_s=2))[-3:] == [Break(0.5), Dial(2.5), HangUp(1.0)]


def test_a_late_leg_dials_late_and_starts_with_its_first_sample() -> None:
    plan = planned(1, Late(by_s=1.7))
    assert plan[:2] == [Dial(1.7), Send(1.7, 0, 160)]
    assert plan[-1] == HangUp(2.7)


def test_a_fast_clock_sends_sooner_by_its_parts_in_a_million() -> None:
    assert planned(3600, Drift(ppm=200))[-1].due_s == pytest.approx(3600 / 1.0002)


def test_chunks_are_sent_in_their_sizes_at_their_own_time() -> None:
    sends = sent(planned(0.1, Chunks(37)))
    assert [step.end - step.first for step in sends] == [37] * 21 + [23]
    assert sends[20].due_s == pytest.approx(20 * 37 / RATE_HZ)


def test_a_swapped_message_is_sent_behind_those_that_follow_it_within_its_time() -> None:
    firsts = [step.first // 160 for step in sent(planned(0.2, Swap(at_s=0.04, by_s=0.05)))]
    assert firsts == [0, 1, 3, 4, 2, 5, 6, 7, 8, 9]


def test_a_swapped_message_at_the_end_is_sent_before_the_leg_hangs_up() -> None:
    plan = planned(0.1, Swap(at_s=0.08, by_s=0.06))
    assert plan[-2:] == [Send(0.14, 640, 800), HangUp(0.14)]


def test_a_doubled_message_is_sent_again_later() -> None:
    sends = sent(planned(0.1, Double(at_s=0.03, by_s=0.03)))
    assert [step.first // 160 for step in sends] == [0, 1, 2, 3, 2, 4]
    assert sends[4].due_s == pytest.approx(0.07)


def test_a_delay_sends_everything_and_all_that_follows_later() -> None:
    plan = planned(2, Delay(at_s=1, for_s=3))
    sends = sent(plan)
    assert sum(step.end - step.first for step in sends) == 2 * RATE_HZ
    assert [sends[49].due_s, sends[50].due_s, sends[51].due_s] == pytest.approx([0.98, 4.0, 4.02])
    assert plan[-1].due_s >= sends[-1].due_s


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stall:3:1.5", (None, Stall(3, 1.5))),
        ("b=drop:1:2", ("b", Drop(1, 2))),
        ("late:1.7", (None, Late(1.7))),
        ("drift:-200", (None, Drift(-200))),
    ],
)
def test_a_quirk_is_read_from_its_text(text: str, expected: tuple[str | None, Quirk]) -> None:
    assert parse_quirk(text) == expected


@pytest.mark.parametrize("text", ["", "stal:3:1", "stall:3", "stall:3:1:1", "late:soon"])
def test_a_quirk_that_is_not_one_is_refused_with_the_ones_that_are(text: str) -> None:
    with pytest.raises(OperatorError, match="stall:AT_S:FOR_S"):
        parse_quirk(text)
