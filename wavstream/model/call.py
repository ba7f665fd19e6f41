"""What is known of the call that a session records."""

from __future__ import annotations

from dataclasses import dataclass, field


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
        """Return what is known from either; what was known first stays."""
        return CallFacts(
            from_=self.from_ or later.from_,
            to=self.to or later.to,
            direction=self.direction or later.direction,
            vendor_ids={**later.vendor_ids, **self.vendor_ids},
        )
