"""A command finds the data folder as the server does, says which, makes none by looking, and leaves it its owner."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from wavstream.service.data_folder import DataFolder

LOOKING = (
    ("apps", "list"),
    ("apps", "keys", "shop"),
    ("apps", "rotate-key", "shop"),
    ("apps", "remove", "shop"),
    ("keys", "list", "shop"),
    ("keys", "add", "shop", "second"),
    ("links", "rotate"),
    ("master-key", "reset"),
    ("webhooks", "list"),
    ("webhooks", "replay"),
    ("verify", "x"),
    ("journals",),
    ("backup", "there"),
)
SERVICE_UID = 12_345


def test_a_command_makes_no_data_folder_by_looking_for_one(wavstream: CommandLine, data_dir: Path) -> None:
    for command in LOOKING:
        said = wavstream(*command)

        assert (said.code, said.out) == (2, ""), command
        assert said.err.startswith(f"wavstream: there is no data folder {data_dir}: "), command
        assert "WAVSTREAM_DATA_DIR" in said.err
    assert list(data_dir.parent.iterdir()) == []


def test_a_folder_that_no_server_has_used_has_no_catalog_and_gets_none(wavstream: CommandLine, data_dir: Path) -> None:
    data_dir.mkdir()

    said = wavstream("apps", "list")

    assert (said.code, "has no catalog.db" in said.err) == (2, True)
    assert list(data_dir.iterdir()) == []


def test_an_app_can_be_added_before_the_first_start_and_the_folder_is_said_to_be_made(
    wavstream: CommandLine, data_dir: Path
) -> None:
    first, second = wavstream("apps", "add", "shop"), wavstream("apps", "add", "bank")

    assert first.err == f"made the data folder {data_dir}\n"
    assert second.err == f"data folder {data_dir}\n"


def test_what_cannot_be_added_makes_no_folder(wavstream: CommandLine, data_dir: Path) -> None:
    assert wavstream("apps", "add", "no/slash").code == 2
    assert not data_dir.exists()


def test_the_folder_is_that_of_the_file_of_settings_as_the_servers_is(
    wavstream: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WAVSTREAM_DATA_DIR")
    (tmp_path / "wavstream.toml").write_text('data_dir = "elsewhere"\n')

    by_file = wavstream("apps", "add", "shop", "--config", "wavstream.toml")
    by_default = wavstream("apps", "list")

    assert by_file.err == f"made the data folder {tmp_path / 'elsewhere'}\n"
    assert (by_default.code, str(tmp_path / "data") in by_default.err) == (2, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_makes_in_a_folder_of_the_service_is_the_services(wavstream: CommandLine, tmp_path: Path) -> None:
    os.chown(tmp_path, SERVICE_UID, SERVICE_UID)

    wavstream("apps", "add", "shop")
    wavstream("links", "rotate")
    wavstream("keys", "add", "shop", "second")
    wavstream("backup", tmp_path / "backup")

    assert (tmp_path / "data" / "link-keys.json").exists()
    assert (tmp_path / "backup" / "catalog.db").exists()
    owners = {path.name: path.stat().st_uid for path in tmp_path.rglob("*")}
    assert {name: uid for name, uid in owners.items() if uid != SERVICE_UID} == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_secret_that_root_replaces_is_the_services_from_its_first_moment(
    wavstream: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(tmp_path, SERVICE_UID, SERVICE_UID)
    wavstream("apps", "add", "shop")
    monkeypatch.setattr(DataFolder, "keep_owner", lambda *_, **__: None)

    wavstream("links", "rotate")

    assert (tmp_path / "data" / "link-keys.json").stat().st_uid == SERVICE_UID
