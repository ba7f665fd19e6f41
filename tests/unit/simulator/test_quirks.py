"""What a leg does and when: pure, so that an hour takes no time."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from wavstream.errors import OperatorError
from wavstream.model.audio import Codec, PacketCodec
from wavstream.simulator.quirks import (
    Burst,
    Chunks,
    Delay,
    Double,
    Drift,
    Drop,
    Gap,
    Joined,
    Late,
    LateOpening,
    Lost,
    Ptime,
    Quirk,
    Reconnect,
    Repeated,
    Stall,
    Swap,
    Swapped,
    check_quirks,
    parse_quirks,
)
from wavstream.simulator.steps import Break, Dial, HangUp, Make, Send, Step, steps
from wavstream.simulator.vendors.base import NUMBERED_QUIRKS, Peer, StreamDescription
from wavstream.simulator.vendors.registry import PEERS

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


def test_messages_that_are_lost_are_made_in_their_turn_and_the_first_and_last_are_not_among_them() -> None:
    plan = planned(60, Lost(percent=50))
    sends = sent(plan)
    made = [step for step in plan if isinstance(step, Make)]
    assert sorted([(step.first, step.end) for step in sends] + [(step.first, step.end) for step in made]) == [
        (n * 160, n * 160 + 160) for n in range(3000)
    ]
    assert [step.first for step in made] == sorted(step.first for step in made)
    assert 1300 < len(made) < 1700
    assert (sends[0].first, sends[-1].end) == (0, 60 * RATE_HZ)


def test_swapped_messages_are_made_in_their_turn_and_sent_behind_the_next_one() -> None:
    plan = planned(60, Swapped(percent=10))
    firsts = [step.first // 160 for step in sent(plan)]
    assert sorted(firsts) == list(range(3000))
    assert 200 < sum(here > there for here, there in itertools.pairwise(firsts)) < 400
    assert max(abs(number - first) for number, first in enumerate(firsts)) == 1
    in_turn = [step.first for step in plan if isinstance(step, Make | Send)]
    assert list(dict.fromkeys(in_turn)) == sorted(set(in_turn))


def test_repeated_messages_are_made_once_and_sent_twice() -> None:
    plan = planned(60, Repeated(percent=10))
    firsts = [step.first // 160 for step in sent(plan)]
    assert list(dict.fromkeys(firsts)) == list(range(3000))
    assert len(firsts) - 3000 == sum(isinstance(step, Make) for step in plan) > 200


def test_bursts_send_what_was_held_back_at_once_and_leave_nothing_out() -> None:
    sends = sent(planned(20, Burst(milliseconds=600)))
    assert [step.first for step in sends] == [n * 160 for n in range(1000)]
    at_once = Counter(step.due_s for step in sends)
    assert sorted(count for count in at_once.values() if count > 1)[-4:] == pytest.approx([30] * 4, abs=1)


def test_a_reconnect_is_in_the_middle_and_what_a_vendor_keeps_is_sent_when_it_is_back() -> None:
    for backlog_s, missing in ((0.0, 50), (0.6, 20), (10.0, 0)):
        plan = list(steps(80_000, rate_hz=RATE_HZ, quirks=[Reconnect(1000)], backlog_s=backlog_s))
        (broken,) = (step for step in plan if isinstance(step, Break))
        back = [step for step in plan if isinstance(step, Dial)][1]
        firsts = [step.first for step in sent(plan)]
        assert 3 <= broken.due_s <= 6
        assert back.due_s == broken.due_s + 1
        assert firsts == sorted(firsts)
        assert 500 - len(firsts) == pytest.approx(missing, abs=1)
        assert all(step.due_s >= back.due_s for step in plan[plan.index(back) :])


def test_a_ptime_is_the_length_of_all_messages() -> None:
    assert [step.end - step.first for step in sent(planned(0.1, Ptime(40)))] == [320, 320, 160]


def test_chance_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    quirks = (Lost(), Swapped(), Repeated(), Burst(), Reconnect())

    def plan(seed: str) -> list[Step]:
        return list(steps(20 * RATE_HZ, rate_hz=RATE_HZ, quirks=quirks, seed=seed))

    assert plan("7 a") == plan("7 a")
    assert plan("7 a") != plan("7 b")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stall:3:1.5", [(None, Stall(3, 1.5))]),
        ("b=drop:1:2", [("b", Drop(1, 2))]),
        ("late:1.7", [(None, Late(1.7))]),
        ("drift:-200", [(None, Drift(-200))]),
        ("lost=2%,swap", [(None, Lost(2)), (None, Swapped())]),
        ("lost,dup=1%", [(None, Lost()), (None, Repeated(1))]),
        ("b=lost=2%,swap,a=dup", [("b", Lost(2)), ("b", Swapped()), ("a", Repeated())]),
        ("b=late,late:1", [("b", LateOpening()), ("b", Late(1))]),
        ("ptime=40,joined", [(None, Ptime(40)), (None, Joined())]),
        ("burst=300ms,reconnect=800", [(None, Burst(300)), (None, Reconnect(800))]),
    ],
)
def test_quirks_are_read_from_their_text(text: str, expected: list[tuple[str | None, Quirk]]) -> None:
    assert list(parse_quirks(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "stal:3:1", "stall:3", "stall:3:1:1", "late:soon", "late:nan", "lost=", "lost=0%", "lost=90%", "lost=few",
        "swap,", "ptime", "ptime=-20", "ptime=20%", "joined=2", "b=", "b=lost=2%=3",
    ],
)  # fmt: skip
def test_a_quirk_that_is_not_one_is_refused_with_the_ones_that_are(text: str) -> None:
    with pytest.raises(OperatorError, match=r"lost\[=N%\], .*ptime=MS, stall:AT_S:FOR_S"):
        list(parse_quirks(text))


@pytest.mark.parametrize(
    ("dialect", "quirk", "why"),
    [
        ("pcm", Lost(), "gap:AT_S:FOR_S"),
        ("audio-fork", Swapped(), "keep their order"),
        ("audio-stream", Repeated(), "comes once"),
        ("twilio", LateOpening(), "comes first"),
        ("twilio", Joined(), "a message of its own"),
    ],
)
def test_a_quirk_that_a_vendor_does_not_have_is_refused_with_the_reason(dialect: str, quirk: Quirk, why: str) -> None:
    with pytest.raises(OperatorError, match=f"{dialect} does not have it: .*{why}"):
        check_quirks([Stall(1, 1), quirk], PEERS[dialect], Codec.L16)


def test_packets_of_a_codec_keep_their_length() -> None:
    with pytest.raises(OperatorError, match="a packet of opus has 20 ms"):
        check_quirks([Ptime(40)], PEERS["pcm"], PacketCodec.OPUS)


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS.keys())
def test_vendors_whose_audio_is_in_texts_have_the_quirks_of_numbered_messages(peer: type[Peer]) -> None:
    """JSON has room for a number or a time, and every vendor that sends audio in it has one."""
    rate_hz = 8000 if peer.rates_hz is None else peer.rates_hz[0]
    description = StreamDescription(
        session_id="s", leg="a", codec=peer.codecs[0], rate_hz=rate_hz, channels=1, parameters={}
    )
    one = peer(description)
    one.opening()
    audio = one.audio(0, np.zeros((rate_hz // 50, 1), np.int16))
    assert all(isinstance(message, str) for message in audio) == (peer.quirks >= NUMBERED_QUIRKS)
