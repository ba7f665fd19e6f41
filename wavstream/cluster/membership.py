"""Who is alive: what a node makes of the entries that the others keep changing.

1. An entry that changes is a node that lives. What is told again as it was (a watch that began anew) is no change.
2. The watcher's own beat, as the watch brings it back, is its clock: it has come through the same table, behind what
   others wrote before it. So a node is dead when the watcher's own beats came for a whole lease, and none of that
   node's did. No clock of another machine is compared, and now is never asked.
3. Where the own beats were away for more than half a lease (the engine was, or the watcher stood still), everybody
   begins to count again: what the others wrote meanwhile may not have come either.
4. An entry that was deleted is a node that has ended by itself: it is dead at once.
5. A quarter of it is enough for a node whose address has refused a connection since its last beat: its process is gone.
   (One that stands still, or is cut off, does not refuse; what it leaves unanswered tells nothing.)

To be wrong costs a take-over and no sample: the old owner's writes are refused by a fence (``tail``).
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

PREFIX = "node."
"""Of the keys of these entries."""


class NodeState(msgspec.Struct, frozen=True, kw_only=True):
    """What a node tells of itself, twice a second. Fields that a later version has are passed over."""

    name: str
    installation: str
    """Of its data folder: tells a node that is started again from another one that was given its name."""
    process: str = ""
    """Another at each start: tells the node from a copy of it; empty: of a version that does not say."""
    address: str = ""
    """Where other nodes reach it: host and port."""
    url: str = ""
    """Where media servers and clients reach it; empty: it does not say."""
    version: str = ""
    protocol: int = 1
    """What nodes must have in common to work together."""
    common: dict[str, str] = {}
    """By setting, a digest of what all nodes must have alike."""
    load: float = 0.0
    """1.0: as much as it takes."""
    is_draining: bool = False
    """Whether it takes nothing new, and hands over what it has."""
    beat: int = 0
    """One more with each change."""
    wall_us: int = 0
    """Its wall clock, for a warning where clocks differ; nothing is decided by it."""
    way_us: int = 0
    """How long its entry takes to NATS and back to it; 0: of a version that does not say."""


def node_key(name: str) -> str:
    """Return the key of a node's entry."""
    return PREFIX + name


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(NodeState).decode


def encode_node(node: NodeState) -> bytes:
    """Return the value of a node's entry."""
    return _encode(node)


def decode_node(value: bytes) -> NodeState:
    """Return what a node's entry says; raise msgspec.DecodeError if no wavstream has written it."""
    return _decode(value)


@dataclass(slots=True)
class _Seen:
    node: NodeState
    changed_us: int
    has_refused: bool = False
    """Whether nobody has listened at its address since then (rule 5)."""


class Membership:
    """The nodes as one of them sees them. All times are the watcher's, of a clock that never jumps."""

    def __init__(self, own: str, *, lease_us: int) -> None:
        """Begin with nobody but ourselves; ``lease_us``: at least four beats."""
        self.own = own
        self._lease_us = lease_us
        self._seen: dict[str, _Seen] = {}
        self._ended_us: dict[str, int] = {}
        """When the entry of a node was deleted."""
        self._heard_us: int | None = None
        """When the own beat came last."""
        self._counts_from_us = 0
        """Since when own beats come without a gap (rule 3)."""

    def saw(self, node: NodeState, now_us: int) -> None:
        """Note an entry, as the watch tells it: the own one too."""
        seen = self._seen.get(node.name)
        if seen is not None and (seen.node.installation, seen.node.beat) == (node.installation, node.beat):
            return  # rule 1
        self._seen[node.name] = _Seen(node, now_us)
        self._ended_us.pop(node.name, None)
        if node.name == self.own:
            if self._heard_us is None or now_us - self._heard_us > self._lease_us // 2:
                self._counts_from_us = now_us  # rule 3
            self._heard_us = now_us

    def refused(self, name: str) -> int | None:
        """Note that a connection to the node was refused (rule 5).

        Return from when on an own beat makes it dead, if it has none before; None: that was said, or nobody knows it.
        """
        seen = self._seen.get(name)
        if seen is None or seen.has_refused:
            return None
        seen.has_refused = True
        return self._ends_us(seen)

    def gone(self, name: str, now_us: int) -> None:
        """Note that a node's entry was deleted (rule 4)."""
        if self._seen.pop(name, None) is not None:
            self._ended_us[name] = now_us

    def state(self, name: str) -> NodeState | None:
        """Return what the node said last; None: there is none of that name, or it has ended."""
        seen = self._seen.get(name)
        return None if seen is None else seen.node

    def is_alive(self, name: str) -> bool:
        """Return whether the node counts as alive; we ourselves always do, and one that nobody knows does not."""
        return self.absent_since_us(name) is None

    def absent_since_us(self, name: str) -> int | None:
        """Return since when the node counts as dead; None: it is alive."""
        if name == self.own:
            return None
        seen = self._seen.get(name)
        if seen is None:
            return self._ended_us.get(name, self._counts_from_us)
        ends_us = self._ends_us(seen)
        return ends_us if self._heard_us is not None and self._heard_us >= ends_us else None  # rule 2

    def _ends_us(self, seen: _Seen) -> int:
        """Return when a node is dead of which nothing more is heard."""
        lease_us = self._lease_us // 4 if seen.has_refused else self._lease_us
        return max(seen.changed_us, self._counts_from_us) + lease_us

    def live(self) -> tuple[str, ...]:
        """Return the names of those that are alive, sorted, our own among them."""
        return tuple(sorted({self.own, *(name for name in self._seen if self.is_alive(name))}))

    def dead(self) -> tuple[str, ...]:
        """Return the names of those that were there and are dead, sorted."""
        known = {*self._seen, *self._ended_us}
        return tuple(sorted(name for name in known if not self.is_alive(name)))

    def is_cut_off(self, now_us: int) -> bool:
        """Return whether our own beat has not come back for a lease: others may take us for dead."""
        return self._heard_us is None or now_us - self._heard_us >= self._lease_us
