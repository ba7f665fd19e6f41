"""Locks by key: what concerns one key happens in turn, what concerns others beside it."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Hashable


class KeyedLocks:
    """One lock for each key; it is kept for as long as somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: weakref.WeakValueDictionary[Hashable, asyncio.Lock] = weakref.WeakValueDictionary()

    def of(self, *key: Hashable) -> asyncio.Lock:
        """Return the lock of the key, to be used in ``async with`` at once."""
        return self._locks.setdefault(key, asyncio.Lock())

    def __len__(self) -> int:
        """Return how many are held or waited for."""
        return len(self._locks)
