"""Which leg is on which channel of a stereo file.

A leg claims a channel by an explicit wish, or else by its name: ``a`` and ``caller`` are left, ``b`` and ``callee``
right. A leg without a claim takes left if no leg known by then has it, else right; so of legs that claim nothing the
first to arrive is left and all others share the right. What a leg hears (outbound) is what the other side says: it
goes opposite to what the leg says. A leg keeps its channel once it has one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wavstream.model.audio import Channel, Track

if TYPE_CHECKING:
    from collections.abc import Iterable

_BY_NAME = {"a": Channel.LEFT, "caller": Channel.LEFT, "b": Channel.RIGHT, "callee": Channel.RIGHT}
_OPPOSITE = {Channel.LEFT: Channel.RIGHT, Channel.RIGHT: Channel.LEFT}


class StereoLayout:
    """The channels of the legs of one recording."""

    def __init__(self) -> None:
        self._legs: dict[str, Channel] = {}

    def place(self, legs: Iterable[tuple[str, Channel | None]]) -> None:
        """Give a channel to every leg, (name, explicit wish) in order of arrival, that has none yet."""
        unclaimed = []
        for leg, wish in legs:
            if leg in self._legs:
                continue
            claim = wish or _BY_NAME.get(leg)
            if claim is None:
                unclaimed.append(leg)
            else:
                self._legs[leg] = claim
        for leg in unclaimed:
            self._legs[leg] = Channel.RIGHT if Channel.LEFT in self._legs.values() else Channel.LEFT

    def channel(self, leg: str, track: Track) -> Channel:
        """Where a track of a placed leg goes."""
        own = self._legs[leg]
        return own if track is Track.INBOUND else _OPPOSITE[own]
