"""Where `get` writes a recording: into what is there as it is, whole into a file, and one line for what does not go."""

from __future__ import annotations

import io
import os
import stat
import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from rich.console import Console

from wavstream.cli.download import NoFile, NotWritten, get_recording
from wavstream.errors import OperatorError, WavstreamError
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.control import Control

SAID = b"RIFF" + bytes(range(256)) * 16


class FakeControl(Control):
    """Has one recording, whose file is its format and then ``SAID``."""

    def __init__(self, **facts: Any) -> None:
        super().__init__(ServerAddress.parse("http://127.0.0.1:1"))
        self.facts = {"id": "r1", "status": "available", "format": "wav", "file_name": "call.wav", **facts}

    def recording(self, recording_id: str) -> dict[str, Any]:
        assert recording_id == "r1"
        return self.facts

    def download(self, recording_id: str, ext: str, file: BinaryIO, progress: Any) -> None:
        file.write(ext.encode() + SAID)
        progress(len(SAID), None)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def get(target: str | None, *, wanted: str = "r1", ext: str | None = None, replace: bool = False, **facts: Any) -> str:
    out = Console(file=io.StringIO(), width=200)
    get_recording(FakeControl(**facts), wanted, target, ext=ext, replace=replace, console=out)
    return out.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def is_left_alone(path: Path) -> bool:
    return not list(path.parent.glob(".*.part"))


def test_a_fifo_is_written_to_and_stays_one(here: Path) -> None:
    os.mkfifo(here / "pipe")
    heard: list[bytes] = []
    reading = threading.Thread(target=lambda: heard.append((here / "pipe").read_bytes()), daemon=True)
    reading.start()

    get("pipe")
    reading.join(10)

    assert heard == [b"wav" + SAID]
    assert stat.S_ISFIFO((here / "pipe").stat().st_mode)


def test_a_device_is_written_to_and_stays_one() -> None:
    before = os.stat("/dev/null")

    get("/dev/null")

    assert os.stat("/dev/null").st_ino == before.st_ino
    with pytest.raises(NotWritten, match="No space left"):
        get("/dev/full")


@pytest.mark.parametrize("name", ["/dev/stdout", "/proc/self/fd/1", "-"])
def test_standard_output_by_any_name_goes_on_where_it_is(
    here: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    kept = os.dup(1)
    monkeypatch.setattr(sys, "stdout", os.fdopen(1, "w", closefd=False))
    try:
        with (here / "out").open("ab") as file:
            file.write(b"before")
            file.flush()
            os.dup2(file.fileno(), 1)
            said = get(name)
    finally:
        os.dup2(kept, 1)
        os.close(kept)

    assert (here / "out").read_bytes() == b"beforewav" + SAID
    assert said == ""


def test_a_symlink_is_followed_and_stays(here: Path) -> None:
    (here / "there").mkdir()
    (here / "link").symlink_to("there/file.wav")

    get("link")

    assert (here / "link").is_symlink()
    assert (here / "there" / "file.wav").read_bytes() == b"wav" + SAID
    with pytest.raises(OperatorError, match="--force"):
        get("link")


def test_a_file_is_replaced_where_that_is_asked_for_and_else_stays(here: Path) -> None:
    (here / "call.wav").write_bytes(b"mine")

    with pytest.raises(OperatorError, match="--force"):
        get(None)
    assert (here / "call.wav").read_bytes() == b"mine"
    get(None, replace=True)

    assert (here / "call.wav").read_bytes() == b"wav" + SAID
    assert is_left_alone(here / "call.wav")


def test_a_name_is_a_file_though_it_looks_like_standard_output(here: Path) -> None:
    get("./-")

    assert (here / "-").read_bytes() == b"wav" + SAID


@pytest.mark.parametrize(
    ("target", "wanted", "ext", "first"),
    [
        ("x.mp3", "r1", None, b"mp3"),
        ("x.MP3", "r1", None, b"mp3"),
        ("x.bin", "r1", None, b"wav"),
        ("x.mp3", "r1", "wav", b"wav"),
        (None, "r1.mp3", None, b"mp3"),
        ("x.bin", "r1.wav", None, b"wav"),
    ],
)
def test_the_format_is_that_of_the_name(
    here: Path, target: str | None, wanted: str, ext: str | None, first: bytes
) -> None:
    get(target, wanted=wanted, ext=ext)

    (made,) = here.iterdir()
    assert made.read_bytes()[:3] == first
    assert target is not None or made.name == "call.mp3"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nodir/", "there is no folder nodir/"),
        ("nodir/x.wav", "there is no folder nodir"),
        ("file/x.wav", "file is no folder"),
        ("file/", "there is no folder file/"),
        ("", "names no file"),
        ("loop", "Too many levels"),
        ("x" * 300, "too long"),
    ],
)
def test_what_is_no_place_is_said_and_nothing_is_made(here: Path, target: str, said: str) -> None:
    (here / "file").touch()
    (here / "loop").symlink_to("loop")

    with pytest.raises(OperatorError, match=said):
        get(target)

    assert {path.name for path in here.iterdir()} == {"file", "loop"}


@pytest.mark.parametrize(
    ("status", "said"), [("deleted", "it is erased"), ("absent", "it is absent"), ("failed", "it is failed")]
)
def test_a_recording_without_a_file_says_what_it_is(here: Path, status: str, said: str) -> None:
    with pytest.raises(NoFile, match=said):
        get("x.wav", status=status)

    assert list(here.iterdir()) == []


def test_what_breaks_off_leaves_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeControl, "download", end)

    with pytest.raises(KeyboardInterrupt):
        get("x.wav")

    assert list(here.iterdir()) == []
    assert issubclass(NotWritten, WavstreamError)
    assert NotWritten("").exit_code == NoFile("").exit_code == 1
