"""``wavstream journals``: what is in the journal folder, and what was set aside from it, with what is wrong."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec
from rich.console import Console

from wavstream.cli.data_folder import found_folder
from wavstream.journal.reader import JournalReader, read_header
from wavstream.journal.records import BrokenSegment
from wavstream.journal.segments import journals_in, segment_path
from wavstream.journal.set_aside import SetAside, list_names
from wavstream.recovery.journal_summary import read_patiently
from wavstream.settings import Settings


def run_journals(settings: Settings, console: Console) -> None:
    """Print a line for each journal, beside a running server too; those that were set aside are read whole."""
    folder = found_folder(settings, for_catalog=False).journal
    place = SetAside(folder).path

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    for key, segments in journals_in(folder).journals.items():
        say(f"{_line(folder, key, segments)}; of a recording that runs, or for the next start")
    aside = journals_in(place)
    for key, segments in aside.journals.items():
        say(f"set aside: {_line(place, key, segments)}; {_problems(place, key)}")
    for name in aside.strangers:
        say(f"set aside: {name}, {_bytes([place / name])} bytes; a copy, or no file")
    if list_names(place):
        say(
            f"What is set aside holds what people said. `wavstream replay {place}/KEY-000001.wsj` makes a file of what "
            "can be read of a journal. A server removes it with the last recording of its session; sooner: "
            f"rm -r {place}/KEY-*"
        )
    elif not list_names(folder):
        say("no journals: nothing runs, and nothing is unfinished")


def _line(folder: Path, key: str, segments: tuple[int, ...]) -> str:
    size = _bytes([segment_path(folder, key, number) for number in segments])
    try:
        header = read_header(folder, key)
    except (BrokenSegment, OSError, msgspec.MsgspecError) as error:
        whose = f"session unknown ({error})"
    else:
        whose = f"session {header.session_id} of {header.app_id}"
    return f"{key}, segments {segments[0]} to {segments[-1]}, {size} bytes, {whose}"


def _problems(folder: Path, key: str) -> str:
    """Return what is wrong with a journal that nobody writes to."""
    reader = JournalReader(folder, key)
    try:
        for _ in read_patiently(reader):
            pass
        reader.end()
    except (OSError, msgspec.MsgspecError) as error:
        return str(error)
    finally:
        reader.close()
    return "; ".join(reader.problems) or "whole"


def _bytes(paths: list[Path]) -> int:
    """Return the size of those that are files."""
    states = [os.lstat(path) for path in paths if os.path.lexists(path)]
    return sum(state.st_size for state in states if stat.S_ISREG(state.st_mode))
