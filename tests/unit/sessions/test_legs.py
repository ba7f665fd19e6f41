"""Who is there, who is away, and for how long; which leg a stream is of that names none."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from tests.support.sessions import introduction, lost_stream
from wavstream.model.audio import Channel, Track, TrackClock
from wavstream.sessions.legs import Away, Legs

BOTH = (Track.INBOUND, Track.OUTBOUND)


def named(legs: Legs, leg: str | None = None, *, dialect: str = "pcm", **said: Any) -> str:
    """Return the leg of a stream that joins, and let it arrive."""
    name = legs.name_of(introduction(leg, **said), dialect=dialect)
    legs.arrive(name)
    return name


def lose(legs: Legs, leg: str, *, is_named: bool = False, deadline_us: int = 100, **said: Any) -> None:
    legs.lose(lost_stream(leg, is_named=is_named, **said), deadline_us=deadline_us)


def test_legs_are_named_in_order_of_arrival_and_once() -> None:
    legs = Legs()

    for name in ("b", "a", "b"):
        legs.arrive(name)

    assert legs.names == ["b", "a"]


def test_a_leg_that_is_away_is_given_up_at_its_deadline_and_not_before() -> None:
    legs = Legs()
    legs.arrive("a")
    legs.lose(lost_stream("a"), deadline_us=100)

    assert legs.give_up(99) == []
    assert legs.give_up(100) == [Away(lost_stream("a"), 100, by_restart=False)]
    assert legs.give_up(101) == []
    assert legs.names == ["a"]


def test_a_leg_that_comes_back_is_not_given_up() -> None:
    legs = Legs()
    legs.lose(lost_stream("a"), deadline_us=100, by_restart=True)

    legs.arrive("a")

    assert (legs.away, legs.give_up(1000)) == ({}, [])


def test_a_leg_without_a_name_gets_the_first_letter_that_is_free() -> None:
    legs = Legs()
    for name in ("a", "c", "caller"):
        legs.arrive(name)

    assert named(legs) == "b"


def test_a_leg_without_a_name_gets_a_number_when_the_letters_are_used_up() -> None:
    legs = Legs()
    for code in range(ord("a"), ord("z") + 1):
        legs.arrive(chr(code))

    assert named(legs) == "leg-27"


@pytest.mark.parametrize("dropped", ["a", "b", "c"])
@pytest.mark.parametrize("times", [1, 3])
def test_whichever_nameless_leg_is_away_comes_back_as_often_as_it_is_dropped(dropped: str, times: int) -> None:
    legs = Legs()
    assert [named(legs) for _ in range(3)] == ["a", "b", "c"]

    for _ in range(times):
        lose(legs, dropped)
        assert named(legs) == dropped

    assert (named(legs), legs.away) == ("d", {})


def test_a_nameless_stream_is_a_new_leg_while_only_named_ones_are_away() -> None:
    legs = Legs()
    legs.arrive("a")
    lose(legs, "a", is_named=True)

    assert named(legs) == "b"
    assert list(legs.away) == ["a"]


def test_a_stream_that_names_its_leg_is_of_that_leg_whoever_is_away() -> None:
    legs = Legs()
    assert [named(legs), named(legs)] == ["a", "b"]
    lose(legs, "a")

    assert [named(legs, "caller"), named(legs, "b"), named(legs, "a")] == ["caller", "b", "a"]


def test_a_nameless_leg_that_was_given_up_does_not_come_back() -> None:
    legs = Legs()
    named(legs)
    lose(legs, "a", deadline_us=100)
    legs.give_up(100)

    assert named(legs) == "b"


def test_of_nameless_legs_that_are_equal_the_one_away_longest_comes_back_first() -> None:
    legs = Legs()
    for name in "abc":
        legs.arrive(name)
    for name in "bca":
        lose(legs, name)

    assert [named(legs) for _ in range(4)] == ["b", "c", "a", "d"]


LIKE: dict[str, dict[str, Any]] = {
    "a": {"clock": TrackClock.ARRIVAL},
    "b": {"dialect": "audio-fork"},
    "c": {"tracks": BOTH},
    "d": {},
}
"""Four legs, each like the others but for one thing that its streams say of themselves."""


@pytest.mark.parametrize("order", list(permutations(LIKE)), ids="".join)
def test_of_nameless_legs_that_differ_each_comes_back_in_whatever_order_they_do(order: tuple[str, ...]) -> None:
    legs = Legs()
    for name, said in LIKE.items():
        legs.arrive(name)
        lose(legs, name, **said)

    assert [named(legs, **LIKE[name]) for name in order] == list(order)


def test_the_only_nameless_leg_that_is_away_comes_back_in_another_format() -> None:
    legs = Legs()
    legs.arrive("a")
    lose(legs, "a", dialect="pcm", clock=TrackClock.CONTIGUOUS)

    assert named(legs, dialect="audio-stream", clock=TrackClock.ARRIVAL, tracks=BOTH) == "a"


@pytest.mark.parametrize(
    ("lost", "joins"),
    [
        ({"tracks": (Track.INBOUND,)}, {"tracks": (Track.OUTBOUND,)}),
        ({"channel": Channel.LEFT}, {"channel": Channel.RIGHT}),
        ({"channel": Channel.LEFT}, {}),
    ],
    ids=["another track", "another channel", "no channel"],
)
def test_a_nameless_stream_that_says_it_is_another_one_is_a_new_leg(
    lost: dict[str, Any], joins: dict[str, Any]
) -> None:
    legs = Legs()
    legs.arrive("a")
    lose(legs, "a", **lost)

    assert [named(legs, **joins), named(legs, **lost)] == ["b", "a"]
