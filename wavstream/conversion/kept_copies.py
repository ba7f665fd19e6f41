"""Copies, in the other format, of recordings whose own file has left this machine.

1. A copy of a file that is here lies beside it, and goes with it (``LocalStorage``). One whose file is in a store has
   nothing to lie beside: it is kept here, in the spool, so that a player that asks for range after range does not have
   the file fetched and converted for each.
2. It goes when nobody has asked for it for an hour, when others that were asked for later need its room
   (``limits.conversion_bytes`` for all of them), when the disk has nothing beyond its reserve, when its recording is
   erased, and when the server ends. It can be made again.

Lives on the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

KEPT_S = 3_600.0


@dataclass(slots=True)
class _Copy:
    path: Path
    size_bytes: int
    end: asyncio.TimerHandle


class KeptCopies:
    """The copies that this worker keeps, by recording; the one that was asked for last comes last."""

    def __init__(
        self, *, max_bytes: int, has_room: Callable[[], bool], unlink: Callable[[Path], None], kept_s: float = KEPT_S
    ) -> None:
        """``unlink`` has a file removed and does not wait for it."""
        self._max_bytes = max_bytes
        self._has_room = has_room
        self._unlink = unlink
        self._kept_s = kept_s
        self._copies: dict[str, _Copy] = {}

    @property
    def size_bytes(self) -> int:
        """Of all of them."""
        return sum(each.size_bytes for each in self._copies.values())

    def path(self, recording_id: str) -> Path | None:
        """Return where the copy lies, which is asked for now; None: there is none."""
        copy = self._copies.pop(recording_id, None)
        if copy is None:
            return None
        copy.end.cancel()
        self._put(recording_id, copy.path, copy.size_bytes)
        return copy.path

    def keep(self, recording_id: str, path: Path, size_bytes: int) -> None:
        """Keep a copy, and let others go for it."""
        self._put(recording_id, path, size_bytes)
        while self._copies and (self.size_bytes > self._max_bytes or not self._has_room()):
            first = next(iter(self._copies))
            self.drop(first)
            if first == recording_id:
                return

    def drop(self, recording_id: str) -> None:
        """Remove the copy, if there is one."""
        copy = self._copies.pop(recording_id, None)
        if copy is not None:
            copy.end.cancel()
            self._unlink(copy.path)

    def clear(self) -> None:
        """Remove all of them."""
        for each in [*self._copies]:
            self.drop(each)

    def _put(self, recording_id: str, path: Path, size_bytes: int) -> None:
        end = asyncio.get_running_loop().call_later(self._kept_s, self.drop, recording_id)
        self._copies[recording_id] = _Copy(path, size_bytes, end)
