"""When the sessions of a dead node are taken though nobody asks for them: the rules, without IO.

1. What a node had is left to its legs for ``ORPHAN_S`` after its death, and to itself, if it is started again. So is
   what it claims later, each session for so long: where NATS is slow for one node, its claims arrive when its beats
   count as missed, and its door does not know of them yet.
2. Then its door is asked what it still has. A node counts as dead when NATS does not hear of it, and one that is cut
   off from NATS alone goes on recording: its legs are there, and who took a call from it would have a recording that
   ends where the cut began. What it says that it has stays with it; the rest is taken.
3. Whoever does not answer has nothing: a process that was killed, a machine that stands still or is gone.
4. An answer holds for ``ANSWER_S``, and so does silence; then it is asked again. A node that dies while it is cut off
   loses its calls to the others so much later at most.
5. This is about orphans alone. A leg that comes here is a leg that its owner has not: its session is taken at once.

To be wrong costs a take-over and no sample, by the fence (``tail``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

ORPHAN_S = 10.0
ANSWER_S = 5.0


@dataclass(slots=True)
class _Dead:
    since_s: float
    asked_s: float | None = None
    """When it was asked last."""
    has: Collection[str] = ()
    """What it said then."""
    sessions: dict[str, float] = field(default_factory=dict)
    """Its sessions by their entries, and when each was seen first."""

    def is_known(self, now_s: float) -> bool:
        """Return whether what it has is known (rule 4)."""
        return self.asked_s is not None and now_s - self.asked_s < ANSWER_S


class Orphans:
    """The dead nodes as one of the living sees them. All times are the watcher's, of a clock that never jumps."""

    def __init__(self) -> None:
        self._dead: dict[str, _Dead] = {}

    def see(self, dead: Mapping[str, Iterable[str]], now_s: float) -> None:
        """Note which nodes are dead now, with their sessions; one that lives again begins anew when it dies again."""
        self._dead = {name: self._dead.get(name) or _Dead(now_s) for name in dead}
        for name, sessions in dead.items():
            before = self._dead[name].sessions
            self._dead[name].sessions = {session_id: before.get(session_id, now_s) for session_id in sessions}

    def to_ask(self, now_s: float) -> list[str]:
        """Return which nodes are to be asked what they have (rules 2 and 4)."""
        return [
            name for name, dead in self._dead.items() if now_s - dead.since_s >= ORPHAN_S and not dead.is_known(now_s)
        ]

    def answered(self, name: str, has: Collection[str] | None, now_s: float) -> bool:
        """Note which sessions a node says that it has, None: it does not answer (rule 3); return whether that is news.

        It is where it has some, and did not say so the last time.
        """
        if (dead := self._dead.get(name)) is None:
            return False
        had, dead.has, dead.asked_s = bool(dead.has), has or (), now_s
        return bool(has) and not had

    def may_take(self, name: str, session_id: str, now_s: float) -> bool:
        """Return whether a session of this node is nobody's care."""
        dead = self._dead.get(name)
        if dead is None or not dead.is_known(now_s) or session_id in dead.has:
            return False
        return now_s - dead.sessions.get(session_id, now_s) >= ORPHAN_S  # rule 1
