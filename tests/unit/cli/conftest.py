"""A shell whose data folder is the test's own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.faulty_database import make_if_missing
from wavstream.catalog.catalog import Catalog
from wavstream.service.data_folder import DataFolder


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WAVSTREAM_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


@pytest.fixture
def used_folder(data_dir: Path) -> Path:
    """As a server leaves it that recorded nothing."""
    folder = DataFolder(data_dir)
    folder.make()
    make_if_missing(folder.catalog)  # migrated once for all

    async def make() -> None:
        await (await Catalog.open(folder.catalog)).database.close()

    asyncio.run(make())
    return data_dir


@pytest.fixture
def wavstream(data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    monkeypatch.setenv("COLUMNS", "120")
    return CommandLine(monkeypatch, capsys)
