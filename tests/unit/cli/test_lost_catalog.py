"""A folder that was used and has no catalog any more is not taken for a new one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.unit.cli.test_verify import recorded
from wavstream.access.key_table import KeyTable
from wavstream.catalog.catalog import Catalog
from wavstream.service.data_folder import DataFolder

COMMANDS = (("serve", "--check"), ("apps", "list"), ("apps", "add", "shop"), ("backup", "there"), ("verify", "x"))


async def is_open(folder: DataFolder) -> bool:
    """Return whether callers on this machine need no key, once the catalog is made."""
    catalog = await Catalog.open(folder.catalog, is_lost=folder.has_lost_catalog())
    try:
        return KeyTable(await catalog.app_keys.read()).is_open
    finally:
        await catalog.database.close()


def lose(catalog: Path) -> None:
    for path in catalog.parent.glob("catalog.db*"):
        path.unlink()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_empty_catalog_of_a_folder_that_was_used_is_refused(
    wavstream: CommandLine, data_dir: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setattr("wavstream.service.logs.configure", lambda _: None)
    recorded(data_dir)
    lose(data_dir / "catalog.db")
    (data_dir / "catalog.db").touch()

    said = wavstream(*command)

    assert said.code == 2
    assert "is empty, and the data folder was used before" in said.err
    assert (data_dir / "catalog.db").stat().st_size == 0


@pytest.mark.parametrize("trace", ["recordings/shop/r1.wav", "journal/k-000001.wsj", "master.key"])
def test_a_catalog_that_takes_the_place_of_a_lost_one_lets_nobody_in_without_a_key_ever(
    data_dir: Path, trace: str
) -> None:
    folder = DataFolder(data_dir)
    folder.make()
    (data_dir / trace).parent.mkdir(parents=True, exist_ok=True)
    (data_dir / trace).touch()

    assert folder.has_lost_catalog()
    assert not asyncio.run(is_open(folder))
    assert not folder.has_lost_catalog()
    assert not asyncio.run(is_open(folder))


def test_a_folder_that_is_new_or_whose_first_start_was_cut_off_is_new(data_dir: Path) -> None:
    folder = DataFolder(data_dir)
    folder.make()
    (data_dir / "link-keys.json").touch()
    folder.catalog.touch()

    assert not folder.has_lost_catalog()
    assert asyncio.run(is_open(folder))


def test_an_app_that_is_added_again_has_the_recordings_of_before(wavstream: CommandLine, data_dir: Path) -> None:
    recorded(data_dir)
    lose(data_dir / "catalog.db")

    added = wavstream("apps", "add", "default")
    listed = wavstream("apps", "list")

    assert (added.code, listed.code) == (0, 0)
    assert "default.2" not in listed.out
