"""The parties of a call: their order of arrival, and which of them are away.

A leg is *away* when its stream was lost and may come back within the reconnect wait.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Away:
    """Since when a lost leg is no longer waited for, and who lost it."""

    deadline_us: int
    by_restart: bool
    """A restart of ours lost it, not the network or the peer."""


class Legs:
    """The legs of one session."""

    def __init__(self) -> None:
        self.names: list[str] = []
        """In order of arrival, gone ones too."""
        self.away: dict[str, Away] = {}

    def arrive(self, name: str) -> None:
        """A stream of this leg is there, for the first time or again."""
        if name not in self.names:
            self.names.append(name)
        self.away.pop(name, None)

    def lose(self, name: str, *, deadline_us: int, by_restart: bool = False) -> None:
        """The stream of this leg is lost; it may come back until the deadline."""
        self.away[name] = Away(deadline_us, by_restart)

    def give_up(self, now_us: int) -> list[Away]:
        """Stop waiting for those whose time is over; returns them."""
        overdue = [name for name, away in self.away.items() if now_us >= away.deadline_us]
        return [self.away.pop(name) for name in overdue]

    def free_letter(self) -> str:
        """A name for a leg that brings none: the first letter that is not taken."""
        letters = (chr(code) for code in range(ord("a"), ord("z") + 1))
        return next((letter for letter in letters if letter not in self.names), f"leg-{len(self.names) + 1}")
