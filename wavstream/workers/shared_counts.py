"""Counts of all workers in shared memory, so that a limit is one of the machine.

1. A row for each (what, key), by a hash of both, and in it a column for each worker. A worker writes its own column
   and reads those of the others. Nobody waits for anybody on the way to a count.
2. A limit is kept by counting first and looking then: of two workers that take the last place at once, both see too
   many, and at least one takes its count back. So a limit is never exceeded; one refusal too many is possible.
3. A row is made under a short lock, and used again when no worker has anything in it. A worker lets go of its rows
   whose counts are nothing any more when it has made many others.
4. Where there is no row, or the lock is held by a worker that hangs, a worker counts alone.
5. A count may have an end (a window of a rate); after that it is nothing. Ends are times of the machine's monotonic
   clock, which all processes share.
6. The column of a worker that died is zeroed by the supervisor before the next one starts.

Where there is one worker, there is no table.
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import mmap
import os
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress

_ROWS = 32_768
"""Of each of the two parts: what apps have, and what addresses have, so that strangers use up no row of an app."""
_PROBES = 64
"""Rows from a hash on among which its row is looked for."""
_HEAD = struct.Struct("<QQQd")
_MAGIC = 0x7761_7673_0001
_HEAD_WORDS = 512
"""A page: the head, and in its second half how often each worker was started again."""
_RESTARTS_FROM = _HEAD_WORDS // 2
MOST_WORKERS = _HEAD_WORDS - _RESTARTS_FROM
_COUNT_BITS = 26
_MOST = (1 << _COUNT_BITS) - 1
_MOST_END = (1 << (64 - _COUNT_BITS)) - 1
"""Milliseconds since the table was made: eight years."""
_NOTHING = 1 << _COUNT_BITS
"""In a column: nothing, by one who keeps the row; it ended in the table's first millisecond."""
_LOCK_WAIT_S = 0.005
"""A row is made in some microseconds; who holds the lock for longer was stopped meanwhile."""
_LOCK_REST_S = 1.0
_MADE_BEFORE_SWEEP = 256
_SWEEP_REST_S = 1.0
"""Between two looks for what may be let go of, where there is no row: all may be in use."""


class SharedCounts:
    """The table, as one worker sees it, or the supervisor."""

    def __init__(self, descriptor: int, worker: int = 0, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Take a table that ``create`` made; the descriptor stays open as long as this is used."""
        self.worker = worker
        self._descriptor = descriptor
        self._words = memoryview(mmap.mmap(descriptor, 0)).cast("Q")
        magic, workers, rows, made_s = _HEAD.unpack_from(self._words.cast("B"))
        self.workers: int = workers
        self._rows: int = rows
        self._made_s: float = made_s
        if magic != _MAGIC:
            raise ValueError("not a table of counts")
        self._clock = clock
        self._fence = threading.Lock()
        self._made: dict[tuple[str, str], int] = {}
        """The rows in which this worker has something, by what and key."""
        self._made_since_sweep = 0
        self._swept_s = 0.0
        self._rest_until_s = 0.0

    @staticmethod
    def create(workers: int, *, rows: int = _ROWS, now_s: float | None = None) -> int:
        """Make a table, and return its descriptor, which is inherited by whoever is handed it."""
        if not 1 <= workers <= MOST_WORKERS:
            raise ValueError(f"there may be {MOST_WORKERS} workers")
        descriptor = os.memfd_create("wavstream-counts")
        os.truncate(descriptor, 8 * (_HEAD_WORDS + 2 * rows * (1 + workers)))
        now_s = time.monotonic() if now_s is None else now_s
        os.pwrite(descriptor, _HEAD.pack(_MAGIC, workers, rows, now_s), 0)
        return descriptor

    def of(self, what: str, *, by_address: bool = False) -> SharedCount:
        """Return the counts of one thing; ``by_address``: strangers choose its keys."""
        return SharedCount(self, what, part=self._rows if by_address else 0)

    # ---- workers ---------------------------------------------------------------------------------------------------

    def forget(self, worker: int) -> None:
        """Zero the column of a worker that died, and count that it is started again (rule 6)."""
        rows = 2 * self._rows
        begin = _HEAD_WORDS + rows * (1 + worker)
        self._words[begin : begin + rows] = memoryview(bytes(8 * rows)).cast("Q")
        self._words[_RESTARTS_FROM + worker] += 1

    def restarts(self, worker: int) -> int:
        """Return how often a worker was started again."""
        return self._words[_RESTARTS_FROM + worker]

    # ---- one count -------------------------------------------------------------------------------------------------

    def write(self, what: str, key: str, part: int, count: int, left_s: float | None) -> None:
        """Note what this worker has; ``left_s``: for so long, None: until it notes another."""
        row = self._made.get((what, key))
        if row is None:
            row = self._make_row(what, key, part) if count else None
        if row is None:
            return
        value = _NOTHING
        if count > 0:
            value = min(count, _MOST)
            if left_s is not None:
                value |= min(max(2, math.ceil((self._now() + left_s) * 1000)), _MOST_END) << _COUNT_BITS
        self._words[self._at(self.worker, row)] = value
        # What others have is to be read after this was written. A lock that nobody else wants is a barrier, which
        # Python has none of: without it two processors could each look before they see what the other has counted.
        with self._fence:
            pass

    def read_others(self, what: str, key: str, part: int) -> tuple[int, float]:
        """Return what the others have, and for how long the last of it counts; 0: without an end, or there is none."""
        row = self._made.get((what, key))
        if row is None and (row := self._find(_hash_of(what, key), part)) is None:
            return 0, 0.0
        now_ms = self._now() * 1000
        count, last_end_ms = 0, 0.0
        for worker in range(self.workers):
            if worker != self.worker:
                value = self._words[self._at(worker, row)]
                end_ms = value >> _COUNT_BITS
                if not end_ms or end_ms > now_ms:
                    count += value & _MOST
                    last_end_ms = max(last_end_ms, end_ms)
        return count, max(0.0, last_end_ms - now_ms) / 1000 if last_end_ms else 0.0

    def window_left_s(self, window_s: float) -> float:
        """Return how much is left of a window, whose bounds are the same for all workers."""
        return window_s - self._now() % window_s

    # ---- rows ------------------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._clock() - self._made_s

    def _at(self, worker: int, row: int) -> int:
        # A worker's column is one stretch: no two processors write the same line of their caches.
        return _HEAD_WORDS + 2 * self._rows * (1 + worker) + row

    def _find(self, hashed: int, part: int) -> int | None:
        words, rows = self._words, self._rows
        for probe in range(_PROBES):
            row = part + (hashed + probe) % rows
            known = words[_HEAD_WORDS + row]
            if known == hashed:
                return row
            if not known:  # rows that were used are used again, and never emptied
                return None
        return None

    def _make_row(self, what: str, key: str, part: int) -> int | None:
        """Return a row in which this worker has something from now on (rule 3)."""
        if self._made_since_sweep >= max(_MADE_BEFORE_SWEEP, len(self._made) // 2):
            self._let_go()
        hashed = _hash_of(what, key)
        row = self._claim(hashed, part)
        if row is None and self._now() - self._swept_s >= _SWEEP_REST_S:
            self._let_go()
            row = self._claim(hashed, part)
        if row is not None:
            self._made_since_sweep += 1
            self._made[what, key] = row
        return row

    def _claim(self, hashed: int, part: int) -> int | None:
        if not self._lock():
            return None
        try:
            row = self._find(hashed, part)
            if row is None:
                probes = (part + (hashed + probe) % self._rows for probe in range(_PROBES))
                row = next((each for each in probes if self._is_free(each)), None)
                if row is None:
                    return None
                self._words[_HEAD_WORDS + row] = hashed
            self._words[self._at(self.worker, row)] = _NOTHING
            return row
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def _is_free(self, row: int) -> bool:
        return not any(self._words[self._at(worker, row)] for worker in range(self.workers))

    def _let_go(self) -> None:
        """Give back the rows in which this worker has nothing any more."""
        now_ms = self._now() * 1000
        for what_key, row in [*self._made.items()]:
            at = self._at(self.worker, row)
            if (end_ms := self._words[at] >> _COUNT_BITS) and end_ms <= now_ms:
                self._words[at] = 0
                del self._made[what_key]
        self._made_since_sweep, self._swept_s = 0, self._now()

    def _lock(self) -> bool:
        """Take the lock of rows, and return whether it was there within a moment (rule 4)."""
        now_s = time.monotonic()
        if now_s < self._rest_until_s:
            return False
        while True:
            with suppress(BlockingIOError, PermissionError):  # which of them it is differs between systems
                # Not flock, whose locks belong to the open file, which all workers have inherited.
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            if time.monotonic() - now_s > _LOCK_WAIT_S:
                self._rest_until_s = now_s + _LOCK_REST_S
                return False
            os.sched_yield()


class SharedCount:
    """The counts of one thing, by key."""

    __slots__ = ("_part", "_table", "_what")

    def __init__(self, table: SharedCounts, what: str, *, part: int) -> None:
        self._table = table
        self._what = what
        self._part = part

    def set(self, key: str, count: int, *, left_s: float | None = None) -> None:
        """Note what this worker has now; ``left_s``: for so long."""
        self._table.write(self._what, key, self._part, count, left_s)

    def others(self, key: str) -> int:
        """Return what the other workers have now."""
        return self._table.read_others(self._what, key, self._part)[0]

    def others_and_left_s(self, key: str) -> tuple[int, float]:
        """Return the same, and for how many seconds the last of it counts."""
        return self._table.read_others(self._what, key, self._part)

    def window_left_s(self, window_s: float) -> float:
        """Return how many seconds are left of the window of this length that all workers are in."""
        return self._table.window_left_s(window_s)


def _hash_of(what: str, key: str) -> int:
    digest = hashlib.blake2b(f"{what}\0{key}".encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) | 1  # 0 is a row that was never used
