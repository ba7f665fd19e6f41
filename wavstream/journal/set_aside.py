"""What is odd in the journal folder, put in order or set aside: a start neither fails nor waits for it.

1. A segment's header says whose it is, and which. A file with a wrong name is given the right one, unless that is
   taken: exchanged segments change places, and a copy is set aside. All that are misplaced get a name of their own
   first (``.moving``), which the next start knows if a crash comes between.
2. What has the name of a segment and is no file (a FIFO, a folder, a link, a socket) is set aside. Nothing is opened
   that could make its opener wait.
3. A whole header of another version is left where it is: another wavstream can read it.
4. A damaged header is none of this: the batches say whose they are, and a reader passes over those of others.
5. What is set aside keeps its name, in a folder beside the journals. When it is deleted says ``recorder.eraser``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from wavstream.journal.reader import read_header
from wavstream.journal.records import BrokenSegment, UnknownVersion
from wavstream.journal.segment_reader import read_header_of
from wavstream.journal.segments import segment_path, segments_of, told_by
from wavstream.removals import Removals

FOLDER = "set-aside"
TAKEN = "taken"
"""Of journals that another node has taken (``cluster.take_over``)."""
_MOVING = ".moving"
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFLNK: "a link",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True, slots=True)
class Oddity:
    """Something odd that was found, and what was done with it."""

    name: str
    """As it was."""
    problem: str
    """What is odd, and what was done: a sentence for a person."""


@dataclass(frozen=True, slots=True)
class FileAside:
    """A file that is set aside, and whose it is."""

    name: str
    session: tuple[str, str] | None
    """Ids of its app and its session; None: nothing tells."""
    since: datetime
    """When it was set aside, or put back from a backup; aware, UTC."""


class SetAside:
    """The place of what is set aside from one journal folder. Every method but ``count`` touches the disk."""

    def __init__(self, folder: Path, *, removals: Removals | None = None, name: str = FOLDER) -> None:
        self.path = folder / name
        self._removals = removals or Removals()
        self.count = 0
        """Things that are there, as far as was seen; may be read from any thread."""
        self._folder = folder

    def put_in_order(self) -> list[Oddity]:
        """Give every segment the name that its header says, and set aside what is none; return what was odd."""
        self.count = len(list_names(self.path))
        odd: list[Oddity] = []
        misplaced: list[tuple[Path, Path]] = []
        for name in list_names(self._folder):
            if told_by(name.removesuffix(_MOVING)) is None:
                continue
            path = self._folder / name
            try:
                problem, right = _look_at(path)
            except OSError as error:
                odd.append(Oddity(name, f"it cannot be read ({error.strerror}), and is left where it is"))
                continue
            if problem is not None and right is not None:
                odd.append(Oddity(name, problem))
            elif problem is not None:
                odd.append(self._take(path, problem))
            elif right is not None and right != path:
                misplaced.append((path, right))
        return odd + self._place(misplaced)

    def take(self, names: Iterable[str]) -> None:
        """Set these files of the journal folder aside; raise OSError."""
        for name in names:
            self._move(self._folder / name)

    def take_journal(self, key: str) -> None:
        """Set all segments of a journal aside; raise OSError."""
        self.take(segment_path(self._folder, key, number).name for number in segments_of(self._folder, key))

    def files(self) -> list[FileAside]:
        """Return the files that are there; what is no file is left to a person. Raise OSError."""
        found = []
        names = list_names(self.path)
        self.count = len(names)
        for name in names:
            state = os.lstat(self.path / name)
            if stat.S_ISREG(state.st_mode):
                found.append(FileAside(name, self._session_of(name), datetime.fromtimestamp(state.st_ctime, UTC)))
        return found

    def keep_from_now(self) -> None:
        """Let everything count as set aside now: the clock by which it was has jumped. What cannot be touched stays."""
        for name in list_names(self.path):
            with suppress(OSError):
                os.utime(self.path / name, follow_symlinks=False)  # the time of the inode's change is now, too

    def remove(self, names: Iterable[str]) -> None:
        """Remove these from there; what the disk refuses is tried again."""
        for name in names:
            self._removals.unlink(self.path / name)
        self.count = len(list_names(self.path))

    def _session_of(self, name: str) -> tuple[str, str] | None:
        try:
            header = read_header_of(self.path / name)
        except (BrokenSegment, OSError):
            told = told_by(name.partition("~")[0])
            if told is None:
                return None
            try:
                header = read_header(self.path, told[0])
            except (BrokenSegment, OSError, msgspec.MsgspecError):
                return None
        return header.app_id, header.session_id

    def _place(self, misplaced: list[tuple[Path, Path]]) -> list[Oddity]:
        """Give misplaced segments their names (rule 1)."""
        odd = []
        moving = []
        for path, right in misplaced:
            waiting = path if path.name.endswith(_MOVING) else path.with_name(path.name + _MOVING)
            try:
                os.rename(path, waiting)
            except OSError as error:
                odd.append(Oddity(path.name, f"it is {right.name}, and cannot be moved ({error.strerror})"))
            else:
                moving.append((waiting, right))
        for waiting, right in moving:
            was = waiting.name.removesuffix(_MOVING)
            if os.path.lexists(right):
                odd.append(self._take(waiting, f"it is a copy of {right.name}"))
                continue
            try:
                os.rename(waiting, right)
            except OSError as error:
                odd.append(Oddity(was, f"it is {right.name}, and cannot be moved ({error.strerror})"))
            else:
                odd.append(Oddity(was, f"it is {right.name}, and has that name again"))
        return odd

    def _take(self, path: Path, problem: str) -> Oddity:
        name = path.name.removesuffix(_MOVING)
        try:
            self._move(path, name)
        except OSError as error:
            return Oddity(name, f"{problem}, and cannot be set aside ({error.strerror})")
        return Oddity(name, f"{problem}, and was set aside")

    def _move(self, path: Path, name: str | None = None) -> None:
        self.path.mkdir(mode=0o700, exist_ok=True)
        target = self.path / (name or path.name)
        number = 1
        while os.path.lexists(target):
            number += 1
            target = self.path / f"{name or path.name}~{number}"
        os.rename(path, target)
        self.count += 1


def list_names(folder: Path) -> list[str]:
    """Return what is in a folder, sorted; a folder that does not exist has nothing."""
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def _look_at(path: Path) -> tuple[str | None, Path | None]:
    """Return what is odd about a segment's file, and what its name should be; a problem with a name: leave it.

    Raise OSError if it cannot be read.
    """
    mode = os.lstat(path).st_mode
    if not stat.S_ISREG(mode):
        return f"it is {_KINDS.get(stat.S_IFMT(mode), 'no file')}", None
    if not mode & stat.S_IRUSR:
        with suppress(OSError):  # it is ours, or is left
            os.chmod(path, 0o600)
    try:
        header = read_header_of(path)
    except UnknownVersion as error:
        return f"{error}; it is left for one that does", path
    except BrokenSegment:
        return None, None  # rule 4
    try:
        return None, segment_path(path.parent, header.key, header.segment)
    except ValueError:
        return "its header names no journal", None
