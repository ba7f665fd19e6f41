"""The media server of each dialect, by the dialect's name: a new one is one line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from wavstream.simulator.vendors.bandwidth import BandwidthPeer
from wavstream.simulator.vendors.base import Peer
from wavstream.simulator.vendors.exotel import ExotelPeer
from wavstream.simulator.vendors.freeswitch import AudioForkPeer, AudioStreamPeer
from wavstream.simulator.vendors.pcm import PcmPeer
from wavstream.simulator.vendors.plivo import PlivoPeer
from wavstream.simulator.vendors.signalwire import SignalWirePeer
from wavstream.simulator.vendors.telnyx import TelnyxPeer
from wavstream.simulator.vendors.twilio import TwilioPeer

PEERS: Mapping[str, type[Peer]] = MappingProxyType(
    {
        peer.dialect: peer
        for peer in (
            PcmPeer,
            TwilioPeer,
            AudioForkPeer,
            AudioStreamPeer,
            TelnyxPeer,
            SignalWirePeer,
            PlivoPeer,
            BandwidthPeer,
            ExotelPeer,
        )
    }
)
