"""Whose sessions are taken though nobody asks for them: after how long, and what is left to a node that answers."""

from __future__ import annotations

from wavstream.cluster.orphans import ANSWER_S, ORPHAN_S, Orphans

DUE_S = 100.0 + ORPHAN_S


CALLS = ["call", "new", "lost with its disk"]


def seen(*names: str) -> Orphans:
    orphans = Orphans()
    orphans.see(dict.fromkeys(names, CALLS), 100.0)
    return orphans


def test_what_a_dead_node_had_is_left_to_its_legs_for_a_while_and_then_its_door_is_asked() -> None:
    orphans = seen("a", "b")
    assert orphans.to_ask(DUE_S - 0.1) == []
    assert not orphans.may_take("a", "call", DUE_S - 0.1)
    assert orphans.to_ask(DUE_S) == ["a", "b"]
    assert not orphans.may_take("a", "call", DUE_S)


def test_who_does_not_answer_has_nothing() -> None:
    orphans = seen("a")
    orphans.answered("a", None, DUE_S)
    assert orphans.may_take("a", "call", DUE_S)
    assert orphans.to_ask(DUE_S) == []


def test_what_a_node_says_that_it_has_stays_with_it_and_the_rest_is_taken() -> None:
    orphans = seen("a", "b")
    assert orphans.answered("a", {"call"}, DUE_S)
    assert not orphans.answered("b", None, DUE_S)
    assert not orphans.may_take("a", "call", DUE_S)
    assert orphans.may_take("a", "lost with its disk", DUE_S)
    assert orphans.may_take("b", "call", DUE_S)
    assert not orphans.answered("a", {"call", "new"}, DUE_S), "that it answers was known"


def test_an_answer_is_asked_for_anew_so_that_a_node_that_dies_while_it_is_cut_off_keeps_nothing() -> None:
    orphans = seen("a")
    orphans.answered("a", {"call"}, DUE_S)
    again_s = DUE_S + ANSWER_S
    assert orphans.to_ask(again_s - 0.1) == []
    assert orphans.to_ask(again_s) == ["a"]
    assert not orphans.may_take("a", "call", again_s)
    orphans.answered("a", None, again_s)
    assert orphans.may_take("a", "call", again_s)


def test_a_node_that_lived_meanwhile_has_its_whole_time_again() -> None:
    orphans = seen("a")
    orphans.answered("a", None, DUE_S)
    orphans.see({}, DUE_S + 1.0)
    assert not orphans.may_take("a", "call", DUE_S + 1.0)
    orphans.see({"a": CALLS}, DUE_S + 2.0)
    assert orphans.to_ask(DUE_S + 2.0) == []
    assert orphans.to_ask(DUE_S + 2.0 + ORPHAN_S) == ["a"]
    orphans.answered("z", None, DUE_S)  # who was alive again before its answer came
    assert not orphans.may_take("z", "call", DUE_S)


def test_what_a_node_claims_after_its_death_is_left_to_it_for_as_long_since_its_door_may_not_know_of_it() -> None:
    orphans = seen("a")
    orphans.see({"a": [*CALLS, "claimed"]}, DUE_S - 1.0)
    orphans.answered("a", (), DUE_S)
    assert orphans.may_take("a", "call", DUE_S)
    assert not orphans.may_take("a", "claimed", DUE_S)
    assert not orphans.may_take("a", "not seen yet", DUE_S)
    orphans.see({"a": ["claimed"]}, DUE_S + 5.0)
    orphans.answered("a", {"claimed"}, DUE_S + ORPHAN_S)
    assert not orphans.may_take("a", "claimed", DUE_S + ORPHAN_S), "its door knows of it now"
    orphans.answered("a", None, DUE_S + ORPHAN_S + ANSWER_S)
    assert orphans.may_take("a", "claimed", DUE_S + ORPHAN_S + ANSWER_S)
