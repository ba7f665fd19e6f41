"""What commands say of a server that breaks off, or is none of ours: one line, with the blame where it belongs."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from wavstream.simulator.control import Control

RECORDING = {
    "id": "r1", "session_id": "call-77", "status": "available", "created_at": "2026-11-30T12:00:00.000Z",
    "format": "wav", "file_name": "call.wav",
}  # fmt: skip


def answer(body: bytes, *, status: str = "200 OK", more: str = "", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n{more}\r\n".encode() + body


def page(*recordings: object) -> bytes:
    return answer(json.dumps({"data": recordings, "next_cursor": None}).encode())


MOVED = answer(b"", status="307 Temporary Redirect", more="Location: http://h/files/x.wav\r\n")
ONE = answer(json.dumps(RECORDING).encode())


@pytest.fixture
def serving() -> Iterator[Callable[..., str]]:
    """Return what serves these answers, one a request, resets the connection behind the last, and tells its URL."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(answers: tuple[bytes, ...]) -> None:
        connection, _ = listener.accept()
        with connection:
            for each in answers:
                connection.recv(65_536)
                connection.sendall(each)
            connection.recv(65_536) if not answers else None
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def begin(*answers: bytes) -> str:
        threading.Thread(target=serve, args=(answers,), daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield begin
    listener.close()


@pytest.mark.parametrize(
    ("command", "answers", "code", "said"),
    [
        (("list",), (), 1, "the connection ended"),
        (("list",), (answer(b'{"da', length=100),), 1, "the connection ended"),
        (("show", "r1"), (answer(b"{", length=9),), 1, "the connection ended"),
        (("get", "r1"), (ONE,), 1, "the connection ended"),
        (("get", "r1"), (ONE, MOVED, answer(b"RIFF", length=4_000)), 1, "the connection ended"),
        (("get", "r1"), (ONE, answer(b"", status="307 Moved")), 1, "307"),
        (("list",), (answer(b"[1]"),), 2, "not a wavstream server"),
        (("list",), (answer(b'{"data": 5}'),), 2, "not a wavstream server"),
        (("list",), (page({"id": 5}),), 2, "not a wavstream server"),
        (("list", "--json"), (page("r1"),), 2, "not a wavstream server"),
        (("show", "r1"), (answer(b'"text"'),), 2, "not a wavstream server"),
        (("show", "r1"), (answer(b"{}"),), 2, "not a wavstream server"),
        (("show", "r1"), (b"SSH-2.0-OpenSSH_9.9\r\n",), 2, "not a wavstream server"),
    ],
)
def test_a_server_that_breaks_off_or_is_another_is_one_line(
    wavstream: CommandLine,
    serving: Callable[..., str],
    tmp_path: Path,
    command: tuple[str, ...],
    answers: tuple[bytes, ...],
    code: int,
    said: str,
) -> None:
    found = wavstream(*command, "--url", serving(*answers))

    assert (found.code, found.err.count("\n")) == (code, 1), found
    assert said in found.err
    assert "cannot be written" not in found.err
    assert list(tmp_path.iterdir()) == []


def test_a_server_of_another_version_is_shown_with_what_it_tells(
    wavstream: CommandLine, serving: Callable[..., str]
) -> None:
    said = wavstream("show", "r1", "--url", serving(ONE))

    assert (said.code, "session_id    call-77" in said.out) == (0, True)


@pytest.mark.parametrize("columns", [30, 60, 80, 200])
def test_a_narrow_terminal_has_fewer_columns_and_whole_ids(
    wavstream: CommandLine, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    recordings = [RECORDING | {"id": f"{number:032x}", "session_id": "s" * 50} for number in range(2)]
    monkeypatch.setattr(Control, "recordings", lambda *_, **__: iter(recordings))
    monkeypatch.setattr("wavstream.cli.options.console._force_terminal", True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("wavstream.cli.options.console._width", None)  # what was set when it was made

    said = wavstream("list")

    assert all(recording["id"] in said.out and "available" in said.out for recording in recordings)
    assert said.out.count("\n") == 3
    assert ("s" * 50 in said.out) == (columns > 100)
    assert "…" not in said.out


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("127.0.0.1:8080", "none of the schemes"),
        ("ftp://h", "none of the schemes"),
        ("http://", "no host"),
        ("http://h:99999", "Port out of range"),
        ("http://me:secret@h", "more than an address"),
        ("http://h/?key=secret", "more than an address"),
    ],
)
def test_an_address_says_what_is_wrong_with_it_and_no_secret(wavstream: CommandLine, url: str, said: str) -> None:
    found = wavstream("list", "--url", url)

    assert (found.code, found.err.count("\n")) == (2, 1)
    assert said in found.err
    assert "secret" not in found.err


@pytest.mark.parametrize(
    "words", [("get",), ("get", "x", "--nope"), ("list", "--limit", "many"), ("dance",), ("keys", "add", "x")]
)
def test_wrong_words_are_one_line(wavstream: CommandLine, words: tuple[str, ...]) -> None:
    said = wavstream(*words)

    assert (said.code, said.err.count("\n"), said.out) == (2, 1, "")
    assert "--help" in said.err


def test_an_erasure_that_nobody_can_confirm_names_the_option(
    wavstream: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(os.devnull) as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        said = wavstream("erase", "r1")

    assert (said.code, "add --yes" in said.err) == (2, True)
