"""Who is there, who is away, and for how long."""

from __future__ import annotations

from wavstream.sessions.legs import Away, Legs


def test_legs_are_named_in_order_of_arrival_and_once() -> None:
    legs = Legs()

    for name in ("b", "a", "b"):
        legs.arrive(name)

    assert legs.names == ["b", "a"]


def test_a_leg_that_is_away_is_given_up_at_its_deadline_and_not_before() -> None:
    legs = Legs()
    legs.arrive("a")
    legs.lose("a", deadline_us=100)

    assert legs.give_up(99) == []
    assert legs.give_up(100) == [Away(100, by_restart=False)]
    assert legs.give_up(101) == []
    assert legs.names == ["a"]


def test_a_leg_that_comes_back_is_not_given_up() -> None:
    legs = Legs()
    legs.lose("a", deadline_us=100, by_restart=True)

    legs.arrive("a")

    assert (legs.away, legs.give_up(1000)) == ({}, [])


def test_a_leg_without_a_name_gets_the_first_letter_that_is_free() -> None:
    legs = Legs()
    for name in ("a", "c", "caller"):
        legs.arrive(name)

    assert legs.free_letter() == "b"


def test_a_leg_without_a_name_gets_a_number_when_the_letters_are_used_up() -> None:
    legs = Legs()
    for code in range(ord("a"), ord("z") + 1):
        legs.arrive(chr(code))

    assert legs.free_letter() == "leg-27"
