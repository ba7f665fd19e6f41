"""How far a server is drained: as its file says, and no further."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from tests.support.sessions import at
from tests.support.waiting import until
from tests.unit.sessions.test_registry import RegistryHarness
from wavstream.service import drain as module
from wavstream.service.drain import Drain, Stage, ask, asked, end_drain


class Drained:
    """A worker with two live sessions, one of which is only announced, and a file that is being made."""

    def __init__(self, folder: Path, *, in_cluster: bool = False) -> None:
        self.file = folder / "drain"
        self.board = RegistryHarness()
        self.board.open(session_id="call-77")
        self.board.sessions.find_or_make("default", "announced", at(0)).announce(at(0))
        self.done: list[str] = []
        self.drain = Drain(
            self.file,
            sessions=self.board.sessions,
            recorder=cast("Any", SimpleNamespace(finishing=1)),
            recovery=cast("Any", SimpleNamespace(total=3, done=3)),
            hand_over=self._hand_over if in_cluster else None,
            end=lambda: self.done.append("end"),
        )

    async def _hand_over(self) -> None:
        self.done.append("hand over")

    def ask(self, stage: Stage) -> None:
        self.file.write_text(f"{stage.word}\n", "ascii")

    async def until(self, stage: Stage) -> None:
        await until(lambda: self.drain.stage is stage)


@asynccontextmanager
async def drained(folder: Path, monkeypatch: pytest.MonkeyPatch, *, in_cluster: bool = False) -> AsyncIterator[Drained]:
    monkeypatch.setattr(module, "LOOK_S", 0.005)
    made = Drained(folder, in_cluster=in_cluster)
    running = asyncio.create_task(made.drain.run())
    try:
        yield made
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def test_each_stage_has_a_word_and_nothing_else_is_one(tmp_path: Path) -> None:
    file = tmp_path / "drain"
    assert asked(file) is Stage.NONE
    for stage in (Stage.DRAIN, Stage.HAND_OVER, Stage.END):
        file.write_text(f"{stage.word}\n", "ascii")
        assert asked(file) is stage
    for text in ("", "drains", "drain drain", "\N{SNOWMAN}", "x" * 100_000):
        file.write_text(text, "utf-8")
        assert asked(file) is Stage.NONE


def test_on_a_full_disk_each_stage_can_be_asked_for_and_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "drain"

    def refuse(path: Path, *_: object) -> int:
        path.touch()  # a name takes no room
        raise OSError(errno.ENOSPC, "No space left on device")

    ask(file, Stage.DRAIN)
    monkeypatch.setattr(Path, "write_text", refuse)
    for stage in (Stage.HAND_OVER, Stage.END, Stage.DRAIN):
        ask(file, stage)
        assert asked(file) is stage
        assert [path.name for path in tmp_path.iterdir()] == ["drain"]
    end_drain(file)
    assert asked(file) is Stage.NONE


def test_what_is_no_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: object) -> int:
        path.touch()
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(OSError, match="Input/output"):
        ask(tmp_path / "drain", Stage.DRAIN)
    assert [*tmp_path.iterdir()] == []


async def test_a_drain_begins_says_what_is_left_and_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with drained(tmp_path, monkeypatch) as server:
        assert server.drain.left == {"sessions": 0, "files": 0}
        with capture_logs() as logs:
            server.ask(Stage.DRAIN)
            await server.until(Stage.DRAIN)
            assert server.board.sessions.load.is_draining
            assert server.drain.left == {"sessions": 1, "files": 1}  # what is announced waits for nobody
            server.file.unlink()
            await server.until(Stage.NONE)
        assert not server.board.sessions.load.is_draining
        assert [line["event"] for line in logs] == ["server_draining", "drain_taken_back"]


async def test_the_end_comes_once_and_includes_the_drain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with drained(tmp_path, monkeypatch) as server:
        server.ask(Stage.END)
        await server.until(Stage.END)
        server.file.unlink()
        await asyncio.sleep(0.05)
        assert (server.drain.stage, server.done) == (Stage.END, ["end"])
        assert server.board.sessions.load.is_draining


async def test_a_server_without_others_has_nobody_to_hand_over_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with drained(tmp_path, monkeypatch) as server:
        server.ask(Stage.HAND_OVER)
        await server.until(Stage.DRAIN)
        await asyncio.sleep(0.05)
        assert server.drain.stage is Stage.DRAIN


async def test_what_was_handed_over_is_left_no_more_and_not_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with drained(tmp_path, monkeypatch, in_cluster=True) as server:
        server.ask(Stage.HAND_OVER)
        await server.until(Stage.HAND_OVER)
        assert server.drain.left == {"sessions": 0, "files": 1}
        server.file.unlink()
        await asyncio.sleep(0.05)
        assert server.drain.stage is Stage.HAND_OVER
        server.ask(Stage.END)
        await server.until(Stage.END)
        assert server.done == ["hand over", "end"]


async def test_a_file_that_cannot_be_read_changes_nothing_and_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with drained(tmp_path, monkeypatch) as server:
        server.ask(Stage.DRAIN)
        await server.until(Stage.DRAIN)
        with capture_logs() as logs:
            server.file.unlink()
            server.file.mkdir()
            await asyncio.sleep(0.05)
        assert [line["event"] for line in logs] in (["drain_unreadable"], ["drain_taken_back", "drain_unreadable"])
