"""A stream that another node relays: where that node ends its part, the close frame is ours to send.

A node that stops closes its own streams with 1012, and their peers come back by another node. Of a stream that it
relays it does not know where our frames end, so it ends what comes from it, and passes on what we still say
(``cluster.relay``, rule 4). A peer that ends its part without a close frame looks the same; it is told in vain.
"""

from __future__ import annotations

from wavstream.media.connection import MediaConnection
from wavstream.workers.boundary import RelayedPeer


class RelayedConnection(MediaConnection):
    """An open media WebSocket with a node between us and its peer."""

    def eof_received(self) -> None:
        """Close the stream, as at a stop of ours; the socket ends when that is sent."""
        self.shutdown()


def connection_for(relayed: RelayedPeer | None) -> type[MediaConnection]:
    """Return what a stream's connection is; ``relayed`` None: it is the peer's own."""
    return MediaConnection if relayed is None else RelayedConnection
