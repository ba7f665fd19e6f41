"""Which leg is on which channel."""

from __future__ import annotations

import pytest

from wavstream.model.audio import Channel, Track
from wavstream.rendering.mixer.mix import StereoLayout

L, R = Channel.LEFT, Channel.RIGHT


@pytest.mark.parametrize(
    ("legs", "expected"),
    [
        ([("a", None), ("b", None)], [L, R]),
        ([("b", None), ("a", None)], [R, L]),
        ([("callee", None), ("caller", None)], [R, L]),
        ([("x", None), ("y", None)], [L, R]),
        ([("x", None), ("y", None), ("z", None)], [L, R, R]),
        ([("x", R), ("y", None)], [R, L]),
        ([("a", R), ("b", L)], [R, L]),
        ([("x", None), ("y", L)], [R, L]),
        ([("b", None), ("x", None)], [R, L]),
        ([("a", None), ("x", None), ("y", None)], [L, R, R]),
        ([("x", None)], [L]),
    ],
)
def test_legs_known_together_are_placed_by_wish_then_name_then_arrival(
    legs: list[tuple[str, Channel | None]], expected: list[Channel]
) -> None:
    layout = StereoLayout()
    for leg, wish in legs:
        layout.add(leg, wish)
    assert [layout.channel(leg, Track.INBOUND) for leg, _ in legs] == expected


def test_a_leg_keeps_its_channel_when_others_come() -> None:
    layout = StereoLayout()
    layout.add("x", None)
    assert layout.channel("x", Track.INBOUND) is L
    layout.add("a", None)
    layout.add("y", None)
    assert [layout.channel(leg, Track.INBOUND) for leg in ("x", "a", "y")] == [L, L, R]


@pytest.mark.parametrize(("leg", "inbound"), [("x", L), ("b", R)])
def test_what_a_leg_hears_goes_opposite_to_what_it_says(leg: str, inbound: Channel) -> None:
    layout = StereoLayout([leg])
    assert layout.channel(leg, Track.INBOUND) is inbound
    assert layout.channel(leg, Track.OUTBOUND) is not inbound
