"""One call through every dialect: the same recording of it, and of each quirk what its vendor's protocol can tell.

A dialect is in these tests by its line in ``simulator/vendors/registry.py``.
"""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

from tests.support.every_dialect import Call, Played, Run, carried, legs_of, rate_of, run, voice
from tests.support.listening import loudest_shift
from tests.support.truth import real_time
from wavstream.dialects.registry import DIALECTS
from wavstream.model.audio import Codec
from wavstream.simulator.caller import Leg
from wavstream.simulator.quirks import Joined, LateOpening, Lost, Reconnect, Repeated, Swapped
from wavstream.simulator.steps import Dial, Send, steps
from wavstream.simulator.vendors.registry import PEERS

pytestmark = real_time

QUIRKS = (Lost(10), Swapped(10), Repeated(10), LateOpening(5), Joined(), Reconnect(600))
WAYS = [(dialect, way) for dialect, peer in PEERS.items() for way in ("legs", "tracks")[: peer.max_channels]]
FAULTS = [(dialect, quirk) for dialect, peer in PEERS.items() for quirk in QUIRKS if quirk.name in peer.quirks]
UNUSUAL = (
    "lost_ms", "late_frames", "late_ms", "duplicate_frames", "reordered_frames", "clock_restarts", "redundant_frames",
    "redundant_ms", "paused_ms", "after_limit_ms", "clipped_samples", "gaps_omitted", "facts_omitted", "events_omitted",
)  # fmt: skip
LIKE = 0.9
"""How much what a packet codec carried is like what was said."""
ON_THE_WAY_S = 0.1
"""What a connection that breaks may take with it."""

Samples = NDArray[np.int16]


def test_every_dialect_has_a_media_server_that_speaks_it() -> None:
    assert set(PEERS) == set(DIALECTS)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two people talk, first one and then the other, through every dialect in each of its ways."""
    calls = {}
    for dialect, way in WAYS:
        rate_hz = rate_of(dialect)
        said = [voice("caller", rate_hz, 1.34, 4.34), voice("callee", rate_hz, 1.04, 4.04)]
        calls[f"{dialect}-{way}"] = Call(dialect, legs_of(dialect, *said, stereo=way == "tracks"))
    return run(tmp_path_factory.mktemp("usual"), calls)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two people talk at once, through every dialect with each of its quirks."""
    calls = {}
    for dialect, quirk in FAULTS:
        rate_hz, stereo = rate_of(dialect), PEERS[dialect].max_channels == 2
        said = [voice("caller", rate_hz, 2.84, 5.44), voice("callee", rate_hz, 0.0, 2.6)]
        legs = legs_of(dialect, *(said if stereo else said[:1]), quirks=[quirk], stereo=stereo)
        calls[f"{dialect}-{quirk.name}"] = Call(dialect, legs)
    return run(tmp_path_factory.mktemp("faulty"), calls)


@pytest.mark.parametrize(("dialect", "way"), WAYS)
def test_the_same_call_through_every_dialect_is_the_same_recording(usual: Run, dialect: str, way: str) -> None:
    played = usual.calls[f"{dialect}-{way}"]
    legs = played.call.legs
    places_s = [
        place_s(played, channel, said, leg)
        for channel, (leg, said) in enumerate((leg, said) for leg in legs for said in carried(leg).T)
    ]
    within_s = played.truth.within_s + max(report.joined_s[0] for report in played.reports)
    assert played.samples.shape[1] == 2
    assert min(places_s) == pytest.approx(0.0, abs=within_s)
    assert places_s[1] - places_s[0] == pytest.approx(0.0, abs=within_s)
    assert_all_is_accounted_for(played)
    # A start that does not name its tracks, as Telnyx', may stand for one that never comes: it is on no channel.
    heard = [(row["dialect"], row["channel"]) for row in played.done["legs"] if row["channel"] is not None]
    assert sorted(heard) == [(dialect, "left"), (dialect, "right")]  # in the order in which they joined


def test_nothing_that_a_vendor_sends_in_a_usual_call_is_ignored(usual: Run) -> None:
    assert usual.ignored == {}


@pytest.mark.parametrize(
    ("dialect", "quirk"), [pytest.param(dialect, quirk, id=f"{dialect}-{quirk.name}") for dialect, quirk in FAULTS]
)
def test_what_a_quirk_does_is_counted_and_words_stay_where_they_were_said(
    faulty: Run, dialect: str, quirk: Lost | Swapped | Repeated | LateOpening | Joined | Reconnect
) -> None:
    played = faulty.calls[f"{dialect}-{quirk.name}"]
    (leg,), (report,) = played.call.legs, played.reports
    channels = leg.samples.shape[1]
    before, *after = sent(leg, PEERS[dialect].backlog_s)
    for channel, said in enumerate(carried(leg).T):
        heard = played.samples[:, channel]
        start = loudest_shift(heard, only(said, before))
        if after:
            assert_comes_back(played, heard[start:], said, before, after[0])
        else:
            assert np.array_equal(heard[start : start + len(said)], only(said, before))
            assert not heard[:start].any()
            assert not heard[start + len(said) :].any()
    integrity = played.done["integrity"]
    match quirk:
        case Lost():
            assert report.samples_lost > 0
            assert integrity["lost_ms"] == channels * report.samples_lost * 1000 // leg.rate_hz
            assert {gap["cause"] for gap in played.truth.gaps(played.done)} == {"loss"}
            assert_all_is_accounted_for(played, "lost_ms", "gaps")
        case Swapped():
            assert integrity["reordered_frames"] > 0
            assert_all_is_accounted_for(played, "reordered_frames")
        case Repeated():
            assert integrity["duplicate_frames"] > 0
            assert_all_is_accounted_for(played, "duplicate_frames")
        case Reconnect():
            assert report.dials == 2
            assert {gap["cause"] for gap in played.truth.gaps(played.done)} <= {"reconnect", "loss"}
            assert_all_is_accounted_for(played, "gaps", "lost_ms")
        case _:
            assert_all_is_accounted_for(played)


def test_no_quirk_of_a_vendor_makes_a_message_that_is_ignored(faulty: Run) -> None:
    assert faulty.ignored == {}


def place_s(played: Played, channel: int, said: Samples, leg: Leg) -> float:
    """Where what was said is on a channel, in seconds; it is all that is there."""
    heard = played.samples[:, channel]
    if isinstance(leg.codec, Codec):
        start = loudest_shift(heard, said)
        assert np.array_equal(heard[start : start + len(said)], said)
        assert not heard[:start].any()
        assert not heard[start + len(said) :].any()
        return start / played.rate_hz
    said = soxr.resample(said, leg.rate_hz, played.rate_hz)
    start = loudest_shift(heard, said)
    there = heard[start : start + len(said)].astype(float)
    assert np.corrcoef(there, said[: len(there)])[0, 1] > LIKE
    return start / played.rate_hz


def assert_all_is_accounted_for(played: Played, *but: str) -> None:
    """Every sample of the file was sent, every one that was sent is in it, but for what these counts tell."""
    integrity = played.done["integrity"]
    assert integrity["samples"] == played.samples.size
    counts = {name: integrity[name] for name in UNUSUAL if integrity[name]}
    assert counts.keys() <= set(but)
    assert "gaps" in but or played.truth.gaps(played.done) == []


def sent(leg: Leg, backlog_s: float) -> list[list[Send]]:
    """Return what the leg sent, by connection."""
    connections: list[list[Send]] = []
    for step in steps(
        len(leg.samples),
        rate_hz=leg.rate_hz,
        quirks=leg.quirks,
        backlog_s=backlog_s,
        seed=f"{leg.seed} {leg.name}",
    ):
        match step:
            case Dial():
                connections.append([])
            case Send():
                connections[-1].append(step)
    return connections


def only(said: Samples, sends: list[Send]) -> Samples:
    """Return what was said, with silence where it was not sent."""
    heard = np.zeros_like(said)
    for send in sends:
        heard[send.first : send.end] = said[send.first : send.end]
    return heard


def assert_comes_back(played: Played, heard: Samples, said: Samples, before: list[Send], after: list[Send]) -> None:
    """Find what was said before the break, up to what was on the way then, and what was said from the return on."""
    left, back = before[-1].end, after[0].first
    behind = loudest_shift(heard, said[back:])
    # What is sent late after the handshake is said late, or when it should have been: nobody but the caller knows.
    first_s, again_s = played.reports[0].joined_s
    late_s = max(first_s, again_s - after[0].due_s)
    assert (behind - back) / played.rate_hz == pytest.approx(0.0, abs=played.truth.within_s + late_s)
    assert np.array_equal(heard[behind : behind + len(said) - back], said[back:])
    same = np.flatnonzero(heard[:left] != said[:left])
    kept = int(same[0]) if len(same) else left
    assert kept >= left - ON_THE_WAY_S * played.rate_hz
    assert not heard[kept:behind].any()
