"""What is known of the call that a session records, within a bound.

Facts come from media servers and applications, again and again, and are copied into every recording and its webhooks.
So a call has at most ``MAX_IDS`` ids and ``MAX_FACTS_BYTES`` in all:

1. What was known first stays; what comes later is taken in as long as there is room for all of it, name and value.
2. What there is no room for is left out, and ``missing_of`` counts it. A call is never refused for its facts.
3. What is known is copied only when something new is taken in, which happens at most ``MAX_IDS + 3`` times in a call:
   117 texts that each brought a thousand ids once took 27 s of the event loop.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_IDS = 32
"""Ids of one call."""
MAX_FACTS_BYTES = 8_192
"""Bytes of all facts of one call, names and values, in UTF-8."""


@dataclass(frozen=True, slots=True)
class CallFacts:
    """Facts that the switch told; empty strings where it told nothing."""

    from_: str = ""
    """The calling party, as the switch writes it."""
    to: str = ""
    """The called party, as the switch writes it."""
    direction: str = ""
    """``inbound`` or ``outbound``, seen from the switch."""
    vendor_ids: dict[str, str] = field(default_factory=dict)
    """The vendor's own ids of the call, by the vendor's name for them."""

    def merged(self, later: CallFacts) -> CallFacts:
        """Return what is known from either, within the bound (rule 1); the same object if nothing is new (rule 3)."""
        if not self.missing_of(later):
            return self
        room = _Room(MAX_FACTS_BYTES - self._size_bytes())
        ids = dict(self.vendor_ids)
        facts = CallFacts(
            from_=self.from_ or room.take(later.from_),
            to=self.to or room.take(later.to),
            direction=self.direction or room.take(later.direction),
            vendor_ids=ids,
        )
        for name, value in later.vendor_ids.items():
            if len(ids) >= MAX_IDS:
                break
            if name not in ids and room.take(name, value):
                ids[name] = value
        return facts

    def missing_of(self, told: CallFacts) -> int:
        """Return how many of the facts that were told are not known here, with any value."""
        texts = ((self.from_, told.from_), (self.to, told.to), (self.direction, told.direction))
        missing = sum(1 for known, text in texts if text and not known)
        return missing + sum(1 for name in told.vendor_ids if name not in self.vendor_ids)

    def _size_bytes(self) -> int:
        ids = sum(_size(name) + _size(value) for name, value in self.vendor_ids.items())
        return _size(self.from_) + _size(self.to) + _size(self.direction) + ids


class _Room:
    """What is left of the bytes of a call's facts."""

    def __init__(self, left_bytes: int) -> None:
        self._left_bytes = left_bytes

    def take(self, *texts: str) -> str:
        """Return the first of the texts, for which there is room now; where there is not for all of them, nothing."""
        size_bytes = sum(map(_size, texts))
        if size_bytes > self._left_bytes:
            return ""
        self._left_bytes -= size_bytes
        return texts[0]


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
