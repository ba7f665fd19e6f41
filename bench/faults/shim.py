"""The controls of ``shim.c``: which calls of a server fail or wait, where its wall clock is, what its disk has.

The shim counts the calls on files below the data folder, by what they do and by what the file is. A rule lets those
from the k-th on fail, or wait; it can be set and taken back while the server runs. With a trace it writes down what was
written and what was synced, so that a disk can be made that has only what was synced (``PowerCut``).
"""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from enum import IntFlag
from pathlib import Path

_RULES = 8
_RULE = struct.Struct("<9q")
_HEAD = struct.Struct("<2q")
FOREVER = -1


class Op(IntFlag):
    """What a call does."""

    WRITE = 1
    SYNC = 2
    RENAME = 4
    STAT = 8
    OPEN = 16
    UNLINK = 32
    TRUNCATE = 64
    READ = 128
    MKDIR = 256


class On(IntFlag):
    """What a file is."""

    JOURNAL = 1
    SPOOL = 2
    RECORDINGS = 4
    CATALOG = 8
    OTHER = 16


class Shim:
    """The shim of one server, whose environment it has to be in."""

    def __init__(self, folder: Path, data_dir: Path, *, trace: bool = False) -> None:
        """Build it; raise ShimMissing where that cannot be."""
        library = _built(folder)
        self._file = folder / "shim.control"
        self._file.write_bytes(bytes(_HEAD.size + _RULES * _RULE.size))
        with self._file.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.trace_file = folder / "shim.trace"
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAULT_SHIM_CONTROL": str(self._file),
            "FAULT_SHIM_ROOT": str(data_dir),
        }
        if trace:
            self.environment["FAULT_SHIM_TRACE"] = str(self.trace_file)
            _HEAD.pack_into(self._map, 0, 0, 1)

    def put_clock_forward(self, seconds: float) -> None:
        """Let the wall clock of the server be so much later than ours."""
        struct.pack_into("<q", self._map, 0, round(seconds * 1e6))

    def set(
        self,
        ops: Op,
        on: On,
        *,
        error: int = 0,
        first: int = 1,
        times: int = FOREVER,
        delay_s: float = 0.0,
        rule: int = 0,
    ) -> None:
        """Let the calls from the ``first`` on, so many ``times``, wait and then fail with ``error`` (0: only wait)."""
        self.clear(rule)
        at = self._at(rule)
        _RULE.pack_into(self._map, at, 0, ops, on, error, first, times, round(delay_s * 1e6), 0, 0)
        struct.pack_into("<q", self._map, at, 1)

    def clear(self, rule: int | None = None) -> None:
        """Take a rule back; None: all."""
        for each in range(_RULES) if rule is None else (rule,):
            struct.pack_into("<q", self._map, self._at(each), 0)

    def seen(self, rule: int = 0) -> int:
        """Return how many calls a rule has looked at."""
        return int(_RULE.unpack_from(self._map, self._at(rule))[7])

    def hit(self, rule: int = 0) -> int:
        """Return how many calls it let fail or wait."""
        return int(_RULE.unpack_from(self._map, self._at(rule))[8])

    @staticmethod
    def _at(rule: int) -> int:
        return _HEAD.size + rule * _RULE.size


class ShimMissing(Exception):
    """There is no compiler, or no Linux: faults of system calls cannot be injected here."""


def _built(folder: Path) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise ShimMissing("there is no C compiler")
    library = folder / "shim.so"
    if not library.exists():
        source = Path(__file__).with_name("shim.c")
        command = [compiler, "-O1", "-w", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ShimMissing(f"the shim does not compile: {done.stderr.strip().splitlines()[-1]}")
    return library


class PowerCut:
    """What a disk has of the data folder after a power cut, by the trace of a shim.

    1. What was written is there once a sync that began after it has succeeded.
    2. What was unsynced at a sync that failed is never there, whatever later syncs say: Linux reports it once, and
       drops the pages. Only writing it again brings it back.
    3. Renames and deletions are there at once; the catalog's files are as they are. Both are harder on the recorder
       than a real disk: its rows are ahead of its files.
    """

    def __init__(self, trace: Path) -> None:
        self._missing: dict[int, list[tuple[int, int]]] = {}
        self._read(trace)

    def apply(self, data_dir: Path) -> int:
        """Take from the files what the disk does not have; return how many bytes that were."""
        taken = 0
        for folder, _, names in os.walk(data_dir):
            for name in names:
                path = Path(folder) / name
                if name.startswith(("catalog.db", "lock")):
                    continue
                missing = self._missing.get(path.stat().st_ino)
                if missing:
                    taken += _take(path, missing)
        return taken

    def _read(self, trace: Path) -> None:
        dirty: dict[int, list[tuple[int, int, int]]] = {}
        dropped: dict[int, list[tuple[int, int]]] = {}
        begun: dict[int, int] = {}
        for number, line in enumerate(_lines(trace)):
            what, thread, inode, offset, length = line
            match what:
                case "W":
                    dirty.setdefault(inode, []).append((number, offset, offset + length))
                    if inode in dropped:
                        dropped[inode] = _without(dropped[inode], offset, offset + length)
                case "T":
                    dirty[inode] = [each for each in dirty.get(inode, []) if each[1] < offset]
                case "B":
                    begun[thread] = number
                case "S" | "A" | "F" | "X":
                    began = begun.get(thread, number)
                    for each in [inode] if what in "SF" else list(dirty):
                        waiting = dirty.get(each, [])
                        if what in "FX":
                            dropped.setdefault(each, []).extend((a, b) for at, a, b in waiting if at < began)
                        dirty[each] = [entry for entry in waiting if entry[0] >= began]
        for inode, waiting in dirty.items():
            self._missing.setdefault(inode, []).extend((a, b) for _, a, b in waiting)
        for inode, stretches in dropped.items():
            self._missing.setdefault(inode, []).extend(stretches)


def _lines(trace: Path) -> Iterator[tuple[str, int, int, int, int]]:
    with contextlib.suppress(FileNotFoundError), trace.open() as lines:
        for line in lines:
            what, *numbers = line.split()
            if len(numbers) == 4:
                thread, inode, offset, length = map(int, numbers)
                yield what, thread, inode, offset, length


def _without(stretches: list[tuple[int, int]], first: int, last: int) -> list[tuple[int, int]]:
    left = []
    for a, b in stretches:
        left += [piece for piece in ((a, min(b, first)), (max(a, last), b)) if piece[0] < piece[1]]
    return left


def _take(path: Path, missing: list[tuple[int, int]]) -> int:
    """Put zeros where nothing was kept; what is missing at the end is cut."""
    size = path.stat().st_size
    taken = 0
    with path.open("r+b") as file:
        for first, last in sorted(missing, reverse=True):
            last = min(last, size)
            if first >= last:
                continue
            taken += last - first
            if last == size:
                file.truncate(first)
                size = first
            else:
                file.seek(first)
                file.write(bytes(last - first))
    return taken
