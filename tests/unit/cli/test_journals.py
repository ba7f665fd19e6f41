"""What ``wavstream journals`` says of the folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.journals import a_started_recording, call, leave
from wavstream.journal.segments import segment_path
from wavstream.journal.set_aside import SetAside
from wavstream.model.recording import EndReason


@pytest.mark.usefixtures("used_folder")
def test_an_empty_folder_is_said_to_be_empty(wavstream: CommandLine) -> None:
    said = wavstream("journals")
    assert (said.code, said.out.strip()) == (0, "no journals: nothing runs, and nothing is unfinished")


def test_journals_are_listed_with_what_is_wrong_with_those_that_were_set_aside(
    wavstream: CommandLine, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "journal"
    rows = call(a_started_recording(), stop=EndReason.HANGUP)
    damaged = leave(folder, rows[:20], rows[20:40], rows[40:])
    path = segment_path(folder, damaged, 2)
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    place = SetAside(folder)
    place.take_journal(damaged)
    running = leave(folder, rows, session_id="call-78")
    os.mkfifo(place.path / "a fifo")

    said = wavstream("journals")

    first, second, third, *_ = said.out.splitlines()
    assert said.code == 0
    assert first.startswith(f"{running}, segments 1 to 1, ")
    assert "session call-78 of default" in first
    assert second.startswith(f"set aside: {damaged}, segments 1 to 3, ")
    assert "segment 3: 1 batches are missing" in second
    assert third == "set aside: a fifo, 0 bytes; a copy, or no file"
    assert f"rm -r {place.path}/KEY-*" in said.out
