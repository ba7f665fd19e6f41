"""Where a session goes that nobody has yet, when the node that it came to takes nothing new. Pure.

1. Each node says with each of its beats how much of what it can do is in use (``sessions.load``, rule 4, and its disk),
   and whether it is being drained. What it tells the others is what it goes by itself: ``NodeLoad``.
2. A session that has begun stays where it is, however loaded that node is: its journal is there.
3. A new one that comes to a node which drains, is too late, or has a disk that takes no recordings (it is full, has
   less than its reserve left, is read-only, or hangs), goes to a live node that has ``ROOM``: to that with the highest
   hash of node and session, so that the calls of a full node are spread over all the others, and each leg of one call
   finds the same node without asking. The least loaded of them would be sent all calls until its next beat.
4. Nobody has room: the session is refused where it came to, in the words of that node, and whoever sent it knows at
   once that the cluster is full. Its claim is let go of at once (``unused_claims``): the next may have room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from wavstream.cluster.membership import NodeState
from wavstream.cluster.ownership import heir
from wavstream.sessions.admission import DiskReserve
from wavstream.sessions.load import Load

ROOM = 0.8
"""A node has room below this share: what it is sent in half a second, until it says how loaded it is, has to fit."""


def has_room(node: NodeState) -> bool:
    """Return whether a node takes sessions that another does not."""
    return node.load < ROOM and not node.is_draining


def place_for(session_id: str, nodes: Iterable[NodeState], *, but: str) -> str | None:
    """Return the node to which a new session goes that node ``but`` does not take; None: nobody has room (rule 4).

    ``nodes``: those that are alive.
    """
    roomy = [node.name for node in nodes if node.name != but and has_room(node)]
    return heir(session_id, roomy) if roomy else None


class NodeLoad:
    """What this node can take in still: the one that it tells the others, and the one that it goes by (rule 1)."""

    def __init__(self, load: Load, *, reserve: DiskReserve, journal_refused: Callable[[], str | None]) -> None:
        """``journal_refused`` returns why the disk takes nothing that is journaled; None: it does."""
        self._load = load
        self._reserve = reserve
        self._journal_refused = journal_refused

    @property
    def is_draining(self) -> bool:
        """Whether it takes nothing new, and goes."""
        return self._load.is_draining

    @property
    def refuses_new(self) -> bool:
        """Whether a new session is to go to another node, if one has room (rule 3)."""
        return self._load.refuses_all or self._has_no_disk

    @property
    def ratio(self) -> float:
        """How much of what it can do is in use; 1 or more: all of it."""
        return max(self._load.ratio, self._reserve.share, 1.0 if self._has_no_disk else 0.0)

    @property
    def _has_no_disk(self) -> bool:
        return self._reserve.refusal() is not None or self._journal_refused() is not None
