"""Where a session goes that nobody has yet, when the node that it came to takes nothing new. Pure.

1. Each node says with each of its beats how much of what it can do is in use (``sessions.load``, rule 4, and its disk),
   and whether it is being drained.
2. A session that has begun stays where it is, however loaded that node is: its journal is there.
3. A new one that comes to a node which drains, or is too late, goes to a live node that has ``ROOM``: to that with the
   highest hash of node and session, so that the calls of a full node are spread over all the others, and each leg of
   one call finds the same node without asking. The least loaded of them would be sent all calls until its next beat.
4. Nobody has room: the session is refused where it came to, with 503 and before its upgrade, and whoever sent it knows
   at once that the cluster is full.
"""

from __future__ import annotations

from collections.abc import Iterable

from wavstream.cluster.membership import NodeState
from wavstream.cluster.ownership import heir

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
