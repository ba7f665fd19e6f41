"""Who waits for a stream in vain is told which sessions with nearly its id streamed meanwhile, at a bounded cost."""

from __future__ import annotations

import time

import pytest

from wavstream.sessions.no_stream import (
    APPS,
    IDS_OF_APP,
    LOOK_EVERY_US,
    StreamedIds,
    no_stream_error,
    similar_ids,
)

UUID = "1d0b6c5e-9b1e-4c52-8f2e-3f0c2a7d1e90"


@pytest.mark.parametrize(
    "streamed",
    [
        UUID.upper(),
        UUID.replace("-", ""),
        f"acW68-{UUID}",
        f"{UUID}@switch.example",
        UUID[:-4],
        UUID.replace("4c52", "4c25"),
        UUID.replace("9b1e", "9b1"),
    ],
)
def test_an_id_in_another_case_with_a_prefix_or_a_suffix_or_mistyped_is_similar(streamed: str) -> None:
    others = ["f47ac10b-58cc-4372-a567-0e02b2c3d479", "call-1", "1"]
    assert similar_ids(UUID, [*others, streamed, UUID]) == [streamed]
    assert similar_ids(streamed, [*others, UUID]) == [UUID]


def test_ids_that_have_nothing_in_common_are_not_similar() -> None:
    assert similar_ids("call-77", ["1", "x", "lobby", "f47ac10b", "call-77"]) == []


def test_at_most_three_are_named_the_newest_first() -> None:
    streamed = [f"call-77-{number}" for number in range(10)]
    assert similar_ids("call-77", streamed) == streamed[:3]


def test_a_look_is_bounded_however_many_and_long_the_ids_are() -> None:
    many = [f"{number:0256d}" for number in range(20_000)]
    begun = time.thread_time()
    similar_ids("9" * 256, many)
    assert time.thread_time() - begun < 1.0  # some milliseconds; all of them would take minutes


def test_ids_are_kept_by_app_the_newest_and_so_many() -> None:
    ids = StreamedIds()
    for number in range(IDS_OF_APP + 10):
        ids.note("shop", f"s{number}", number)
    assert ids.since("shop", 0) == [f"s{number}" for number in range(IDS_OF_APP + 9, 9, -1)]
    assert ids.since("shop", IDS_OF_APP + 8) == [f"s{IDS_OF_APP + 9}", f"s{IDS_OF_APP + 8}"]
    assert ids.since("bank", 0) == []
    for number in range(APPS):
        ids.note(f"app{number}", "s", 0)
    assert ids.since("shop", 0) == []


def test_ids_are_looked_at_once_in_a_while() -> None:
    ids = StreamedIds()
    moments = (0, 1, LOOK_EVERY_US - 1, LOOK_EVERY_US, LOOK_EVERY_US + 1)
    assert [ids.may_look("shop", now_us) for now_us in moments] == [True, False, False, True, False]


def test_apps_take_turns_to_look_whatever_one_of_them_asks() -> None:
    ids = StreamedIds()
    asks = [(app_id, turn) for turn in range(8) for app_id in ("loud", "loud", "loud", "quiet", "other")]
    looked = [app_id for app_id, turn in asks if ids.may_look(app_id, turn * LOOK_EVERY_US)]
    assert len(looked) == 8
    assert min(looked.count(app_id) for app_id in ("quiet", "other")) >= 2


def test_an_app_that_does_not_ask_any_more_holds_nobody_up() -> None:
    ids = StreamedIds()
    assert [ids.may_look("shop", 0), ids.may_look("gone", 1), ids.may_look("bank", 2)] == [True, False, False]
    assert not ids.may_look("bank", LOOK_EVERY_US)
    assert ids.may_look("bank", 2_000_000)


def test_the_error_says_how_long_it_waited_and_what_streamed() -> None:
    told = no_stream_error(session_id="call-77", waited_us=60_100_000, similar=["Call-77", "call-770"])
    assert told.startswith("no stream of session 'call-77' came within 60 s; meanwhile 'Call-77' and 'call-770' ")
    assert "no session of the app with a similar id" in no_stream_error(session_id="c", waited_us=0, similar=())
    assert "was not looked at" in no_stream_error(session_id="c", waited_us=0, similar=None)
