"""Media servers of the simulator as each of them usually is: the codec, the rate and the one leg that it has first."""

from __future__ import annotations

from collections.abc import Mapping

from wavstream.simulator.vendors.base import Peer, StreamDescription
from wavstream.simulator.vendors.registry import PEERS


def peer_of(name: str, call: str = "vendors-call", parameters: Mapping[str, str] = {}) -> Peer:
    """Return the media server of a dialect on one connection of this call."""
    kind = PEERS[name]
    return kind(
        StreamDescription(
            session_id=call,
            leg="a",
            codec=kind.codecs[0],
            rate_hz=(kind.rates_hz or (8_000,))[0],
            channels=1,
            parameters=parameters,
        )
    )
