"""The media server of each dialect, by the dialect's name: a new one is one line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from wavstream.simulator.vendors.asterisk import AsteriskPeer
from wavstream.simulator.vendors.audiofork2 import AudioFork2Peer
from wavstream.simulator.vendors.audiohook import AudioHookPeer
from wavstream.simulator.vendors.bandwidth import BandwidthPeer
from wavstream.simulator.vendors.base import Peer
from wavstream.simulator.vendors.exotel import ExotelPeer
from wavstream.simulator.vendors.freeswitch import AudioForkPeer, AudioStreamPeer
from wavstream.simulator.vendors.jambonz import JambonzPeer
from wavstream.simulator.vendors.livekit import LiveKitPeer
from wavstream.simulator.vendors.pcm import PcmPeer
from wavstream.simulator.vendors.plivo import PlivoPeer
from wavstream.simulator.vendors.signalwire import SignalWirePeer
from wavstream.simulator.vendors.telnyx import TelnyxPeer
from wavstream.simulator.vendors.twilio import TwilioPeer
from wavstream.simulator.vendors.vonage import VonagePeer

PEERS: Mapping[str, type[Peer]] = MappingProxyType(
    {
        peer.dialect: peer
        for peer in (
            PcmPeer,
            TwilioPeer,
            AudioForkPeer,
            AudioStreamPeer,
            AudioHookPeer,
            AudioFork2Peer,
            JambonzPeer,
            VonagePeer,
            LiveKitPeer,
            AsteriskPeer,
            TelnyxPeer,
            SignalWirePeer,
            PlivoPeer,
            BandwidthPeer,
            ExotelPeer,
        )
    }
)
