"""What a start would say, said without one: nothing of the data folder changes."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import structlog

from tests.support.command_line import CommandLine
from tests.unit.cli.test_verify import recorded
from wavstream.service.data_folder import DataFolder


@pytest.fixture(autouse=True)
def as_configured_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the logging of this process: the command sets it up."""
    monkeypatch.setattr("wavstream.service.logs.configure", lambda _: None)
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """Return one that is free."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        free: int = found.getsockname()[1]
    monkeypatch.setenv("WAVSTREAM_PORT", str(free))
    return free


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("catalog.db-")
    }


def test_a_start_that_would_succeed_is_said_to_and_touches_nothing(
    wavstream: CommandLine, data_dir: Path, port: int
) -> None:
    recorded(data_dir)
    wavstream("apps", "add", "shop")
    (data_dir / "spool" / "half.wav").touch()
    before = contents(data_dir)

    said = wavstream("serve", "--check")

    assert (said.code, said.err) == (0, "")
    assert f"data folder {data_dir}: can be used" in said.out
    assert "1 apps" in said.out
    assert f"127.0.0.1, port {port}: free" in said.out
    assert said.out.endswith("a start would succeed\n")
    assert contents(data_dir) == before


def test_a_first_start_is_checked_without_a_data_folder(wavstream: CommandLine, data_dir: Path, port: int) -> None:
    said = wavstream("serve", "--check")

    assert said.code == 0
    assert "there is none, a start would make it" in said.out
    assert not data_dir.exists()


@pytest.mark.parametrize("is_said", [True, False], ids=["said", "by an earlier version"])
def test_beside_a_server_its_port_and_lock_are_no_mistakes(
    wavstream: CommandLine, data_dir: Path, port: int, is_said: bool
) -> None:
    recorded(data_dir)
    folder = DataFolder(data_dir)
    folder.claim()
    folder.note_places([str(port)] if is_said else [])
    with socket.create_server(("127.0.0.1", port)):
        said = wavstream("serve", "--check")
    folder.release()

    assert said.code == 0
    assert "a server uses it" in said.out
    assert ("taken, by that server\n" if is_said else "by that server presumably") in said.out
    assert said.out.endswith("once that server is stopped\n")


@pytest.mark.parametrize("wrong", ["taken", "unknown"])
def test_beside_a_server_an_address_that_is_not_its_own_is_tried(
    wavstream: CommandLine, data_dir: Path, port: int, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    recorded(data_dir)
    folder = DataFolder(data_dir)
    folder.claim()
    folder.note_places(["1"])
    if wrong == "unknown":
        monkeypatch.setenv("WAVSTREAM_HOST", "no-such-host.invalid")
    with socket.create_server(("127.0.0.1", port)):
        said = wavstream("serve", "--check")
    folder.release()

    assert said.code == 2
    assert ("is taken" if wrong == "taken" else "no-such-host.invalid") in said.err


@pytest.mark.parametrize(
    ("what", "word"),
    [
        ("a wrong setting", "WAVSTREAM_LOG__LEVEL"),
        ("a template without an id", "WAVSTREAM_OBJECT_KEY"),
        ("the port is taken", "is taken"),
        ("every address and no app", "apps add"),
        ("another master key", "master-key reset"),
        ("a newer catalog", "newer wavstream"),
        ("a broken catalog", "catalog.db"),
        ("a file in place of the folder", "WAVSTREAM_DATA_DIR"),
    ],
)
def test_what_a_start_would_refuse_is_refused(
    wavstream: CommandLine, data_dir: Path, port: int, monkeypatch: pytest.MonkeyPatch, what: str, word: str
) -> None:
    taken: socket.socket | None = None
    if what == "another master key":
        wavstream("apps", "add", "shop")
        monkeypatch.setenv("WAVSTREAM_MASTER_KEY", "00" * 32)
    elif what == "a file in place of the folder":
        data_dir.write_text("a file")
    elif what in ("a newer catalog", "a broken catalog"):
        recorded(data_dir)
        if what == "a newer catalog":
            with closing(sqlite3.connect(data_dir / "catalog.db")) as catalog:
                catalog.execute("UPDATE alembic_version SET version_num = '9999'")
                catalog.commit()
        else:
            (data_dir / "catalog.db").write_bytes(b"no database" * 1000)
    elif what == "the port is taken":
        taken = socket.create_server(("127.0.0.1", port))
    else:
        name, value = {
            "a wrong setting": ("WAVSTREAM_LOG__LEVEL", "loud"),
            "a template without an id": ("WAVSTREAM_OBJECT_KEY", "{app}.{ext}"),
            "every address and no app": ("WAVSTREAM_HOST", "0.0.0.0"),
        }[what]
        monkeypatch.setenv(name, value)

    said = wavstream("serve", "--check")
    if taken is not None:
        taken.close()

    assert said.code == 2
    assert word in said.err
    assert "wavstream-check" not in said.err
