"""Apps added, listed, given keys and removed, in a data folder that a server may use meanwhile."""

from __future__ import annotations

import asyncio
import base64
import os
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from wavstream.access.keys import KeyDigests
from wavstream.api.registry import VOCABULARIES
from wavstream.catalog.app_keys import AppKeys
from wavstream.catalog.apps import Apps
from wavstream.catalog.catalog import Catalog
from wavstream.errors import DiskFull
from wavstream.service.data_folder import DataFolder
from wavstream.storage.links import load_link_keys
from wavstream.storage.reserve_file import PART_BYTES, RESERVE_BYTES, ReserveFile


def key_in(out: str) -> str:
    said, key = out.splitlines()
    assert said.endswith("shown this once:")
    return key


def owner_of(key: str, data_dir: Path) -> str | None:
    """Return the app that the key opens."""
    folder = DataFolder(data_dir)

    async def find() -> str | None:
        async with folder.open_catalog() as catalog:
            digests = KeyDigests(await folder.load_master_key(None, catalog.app_keys))
            found = await catalog.apps.find_by_lookup(digests.kept(key)["key_lookup"])
        return found[0].id if found is not None and found[1] == digests.of(key) else None

    return asyncio.run(find())


def test_an_app_that_is_added_is_listed_and_its_key_opens_it(wavstream: CommandLine, data_dir: Path) -> None:
    added = wavstream("apps", "add", "shop", "--retention-hours", "48")
    wavstream("apps", "add", "bank")

    listed = wavstream("apps", "list")

    assert added.code == 0
    assert owner_of(key_in(added.out), data_dir) == "shop"
    rows = [line for line in listed.out.splitlines() if "UTC" in line]
    assert [("shop" in rows[0], "48 h" in rows[0]), ("bank" in rows[1], "server's" in rows[1])] == [(True, True)] * 2


@pytest.mark.usefixtures("used_folder")
def test_without_an_app_the_list_says_what_that_means(wavstream: CommandLine) -> None:
    said = wavstream("apps", "list")

    assert (said.code, said.out) == (0, "there is no app: callers on this machine need no key\n")


def test_a_rotated_key_takes_the_place_of_the_older(wavstream: CommandLine, data_dir: Path) -> None:
    old = key_in(wavstream("apps", "add", "shop").out)

    new = key_in(wavstream("apps", "rotate-key", "shop").out)

    assert (owner_of(old, data_dir), owner_of(new, data_dir)) == (None, "shop")


def test_a_removed_app_is_gone_and_its_key_with_it(wavstream: CommandLine, data_dir: Path) -> None:
    key = key_in(wavstream("apps", "add", "shop").out)

    removed = wavstream("apps", "remove", "shop")

    assert removed.code == 0
    assert owner_of(key, data_dir) is None
    assert "no app" in wavstream("apps", "list").out


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        (("add", "shop"), "rotate-key"),
        (("add", "no/slash"), "letters"),
        (("rotate-key", "bank"), "apps list"),
        (("remove", "bank"), "apps list"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_says_what_to_do(wavstream: CommandLine, command: tuple[str, str], hint: str) -> None:
    wavstream("apps", "add", "shop")

    said = wavstream("apps", *command)

    assert (said.code, said.out) == (2, "")
    assert hint in said.err


def test_a_retention_out_of_range_is_refused(wavstream: CommandLine) -> None:
    assert wavstream("apps", "add", "shop", "--retention-hours", "0").code == 2


def test_the_keys_that_receivers_check_webhooks_with_are_printed_and_stay_the_same(wavstream: CommandLine) -> None:
    wavstream("apps", "add", "shop")
    wavstream("apps", "add", "bank")

    shown = wavstream("apps", "keys", "shop")

    assert shown.code == 0
    keys = dict(line.split() for line in shown.out.splitlines())
    assert sorted(keys) == ["bird", "signalwire", "telnyx"]
    assert len(base64.b64decode(keys["telnyx"], validate=True)) == 32
    assert wavstream("apps", "keys", "shop").out == shown.out
    assert not set(keys.values()) & set(wavstream("apps", "keys", "bank").out.split())
    assert wavstream("apps", "keys", "nobody").code == 2


def test_the_account_ids_of_an_app_are_kept_and_an_unknown_vendor_is_refused(
    wavstream: CommandLine, data_dir: Path
) -> None:
    assert wavstream("apps", "add", "shop", "--account", "bird=w-1", "--account", "bird=w-2").code == 0
    refused = wavstream("apps", "add", "bank", "--account", "acme=1")

    async def accounts() -> list[Mapping[str, tuple[str, ...]]]:
        catalog = await Catalog.open(DataFolder(data_dir).catalog)
        apps = await catalog.apps.list()
        await catalog.database.close()
        return [app.vendor_accounts for app in apps]

    assert asyncio.run(accounts()) == [{"bird": ("w-1", "w-2")}]
    assert (refused.code, "telnyx" in refused.err) == (2, True)


def test_more_keys_have_names_and_are_taken_away_one_by_one(wavstream: CommandLine, data_dir: Path) -> None:
    main = key_in(wavstream("apps", "add", "shop").out)

    second = key_in(wavstream("keys", "add", "shop", "second").out)
    short = key_in(wavstream("keys", "add", "shop", "short", "--expires-hours", "48").out)
    listed = wavstream("keys", "list", "shop").out
    revoked = wavstream("keys", "revoke", "shop", "main")

    assert {main, second, short} & set(listed.split()) == set()
    rows = [line for line in listed.splitlines() if "UTC" in line]
    assert [[name in row for name in ("main", "second", "short")].index(True) for row in rows] == [0, 1, 2]
    assert ["never" in row for row in rows] == [True, True, False]
    assert revoked.code == 0
    assert [owner_of(key, data_dir) for key in (main, second, short)] == [None, "shop", "shop"]
    wavstream("keys", "revoke", "shop", "second")
    wavstream("keys", "revoke", "shop", "short")
    assert "has no key" in wavstream("keys", "list", "shop").out
    assert owner_of(key_in(wavstream("apps", "rotate-key", "shop").out), data_dir) == "shop"


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        (("keys", "add", "shop", "main"), "keys revoke shop main"),
        (("keys", "add", "shop", "no/slash"), "letters"),
        (("keys", "add", "bank", "second"), "apps list"),
        (("keys", "list", "bank"), "apps list"),
        (("keys", "revoke", "shop", "second"), "keys list shop"),
        (("keys", "revoke", "bank", "main"), "apps list"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_with_a_key_says_what_to_do(
    wavstream: CommandLine, command: tuple[str, ...], hint: str
) -> None:
    wavstream("apps", "add", "shop")

    said = wavstream(*command)

    assert (said.code, said.out) == (2, "")
    assert hint in said.err


def test_an_app_that_is_added_again_is_called_as_before_and_is_another(wavstream: CommandLine, data_dir: Path) -> None:
    wavstream("apps", "add", "shop")
    signing = wavstream("apps", "keys", "shop").out
    wavstream("apps", "remove", "shop")
    nobody = wavstream("apps", "list").out

    key = key_in(wavstream("apps", "add", "shop").out)

    assert nobody == "there is no app: nobody may record\n"
    assert owner_of(key, data_dir) == "shop.2"
    assert "shop.2" not in wavstream("apps", "list").out
    assert not set(wavstream("apps", "keys", "shop").out.split()) & set(signing.split()) - set(VOCABULARIES)


def test_another_master_key_is_noticed_until_the_old_one_is_given_up(
    wavstream: CommandLine, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = key_in(wavstream("apps", "add", "shop").out)
    monkeypatch.setenv("WAVSTREAM_MASTER_KEY", "00" * 32)

    refused = wavstream("apps", "rotate-key", "shop")
    server = DataFolder(data_dir)
    server.claim()
    beside_a_server = wavstream("master-key", "reset")
    server.release()
    reset = wavstream("master-key", "reset")
    new = key_in(wavstream("apps", "rotate-key", "shop").out)

    assert (refused.code, "master-key reset" in refused.err) == (2, True)
    assert (beside_a_server.code, "stop it" in beside_a_server.err) == (2, True)
    assert (reset.code, "rotate-key" in reset.out) == (0, True)

    async def digests() -> set[str]:
        async with DataFolder(data_dir).open_catalog() as catalog:
            return {key.key_hash for key in await catalog.app_keys.list("shop")}

    assert asyncio.run(digests()) == {KeyDigests(bytes(32)).of(new)} != {KeyDigests(bytes(32)).of(old)}


def test_rotated_links_have_another_key(wavstream: CommandLine, data_dir: Path) -> None:
    wavstream("apps", "add", "shop")
    now = datetime.now(UTC)
    before = load_link_keys(DataFolder(data_dir).link_keys, now)

    said = wavstream("links", "rotate")

    assert (said.code, "has ended" in said.out) == (0, True)
    after = load_link_keys(DataFolder(data_dir).link_keys, now)
    assert len(after.keys) == 1
    assert {key.id for key in after.keys} & {key.id for key in before.keys} == set()
    assert stat.S_IMODE(DataFolder(data_dir).link_keys.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("fails", "command"),
    [
        ("AppKeys.revoke", ("keys", "revoke", "shop", "main")),
        ("Apps.replace_key", ("apps", "rotate-key", "shop")),
        ("Apps.remove", ("apps", "remove", "shop")),
        ("AppKeys.has_changed", ("links", "rotate")),
    ],
)
def test_what_takes_access_away_is_given_room_of_the_reserve_on_a_full_disk(
    wavstream: CommandLine, data_dir: Path, fails: str, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    wavstream("apps", "add", "shop")
    reserve = ReserveFile(DataFolder(data_dir).reserve_file)
    reserve.make(1 << 40)
    kind, method = {"Apps": Apps, "AppKeys": AppKeys}[fails.partition(".")[0]], fails.partition(".")[2]
    do = getattr(kind, method)

    async def on_a_full_disk(*given: object, **named: object) -> object:
        if os.lstat(DataFolder(data_dir).reserve_file).st_size == RESERVE_BYTES:
            raise DiskFull("full")
        return await do(*given, **named)

    monkeypatch.setattr(kind, method, on_a_full_disk)

    assert wavstream(*command).code == 0
    assert DataFolder(data_dir).reserve_file.stat().st_size == RESERVE_BYTES - PART_BYTES
