"""Weak keys are refused where others can reach the server, and a matter of taste where they cannot."""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from rich.console import Console

from wavstream.cli.apps import rotate_key
from wavstream.errors import OperatorError
from wavstream.model.weak_keys import weakness
from wavstream.service.exposure import is_reachable, listens_beyond_loopback, refuse_weak_keys
from wavstream.service.service import Service
from wavstream.settings import Settings, TwilioSettings

REACHABLE: list[dict[str, Any]] = [
    {"host": "0.0.0.0"},
    {"host": "::"},
    {"host": "127.0.0.1,10.0.0.5"},
    {"host": "rec.lan"},
    {"host": "unix:/run/wavstream.sock"},
    {"public_url": "https://rec.example.com"},
    {"url": "wss://rec.example.com"},
    {"trusted_proxies": "127.0.0.1"},
]
WITHIN: list[dict[str, Any]] = [
    {},
    {"host": "localhost,127.0.0.2,::1"},
    {"public_url": "http://localhost:8080"},
    {"url": ""},
]


@pytest.mark.parametrize("key", ["k", "change-me", "Change_Me-0123456789", "0" * 40, "abcabcabcabcabcabc", "x" * 15])
@pytest.mark.parametrize("name", ["api_key", "admin_api_key"])
def test_a_weak_key_is_refused_where_others_can_reach_the_server(name: str, key: str) -> None:
    for reachable in REACHABLE:
        assert is_reachable(Settings(**reachable))
        with pytest.raises(OperatorError, match=name) as refused:
            refuse_weak_keys(Settings.model_validate({**reachable, name: SecretStr(key)}))
        assert key not in str(refused.value).replace("characters", "").split()
    for within in WITHIN:
        assert not is_reachable(Settings(**within))
        refuse_weak_keys(Settings.model_validate({**within, name: SecretStr(key)}))


def test_all_weak_keys_are_told_at_once_and_what_signs_is_one() -> None:
    sample = Settings(
        host="0.0.0.0",
        api_key=SecretStr("change-me"),
        admin_api_key=SecretStr("change-me"),
        master_key=SecretStr("change-me-to-something-long"),
        twilio=TwilioSettings(auth_token=SecretStr("change-me")),
    )
    with pytest.raises(OperatorError) as refused:
        refuse_weak_keys(sample)
    assert [line.partition(" ")[0] for line in str(refused.value).splitlines()] == [
        "WAVSTREAM_API_KEY",
        "WAVSTREAM_ADMIN_API_KEY",
        "WAVSTREAM_MASTER_KEY",
        "WAVSTREAM_TWILIO__AUTH_TOKEN",
    ]


@pytest.mark.parametrize("key", ["wsk_of_the_operator", "9f86d081884c7d65", "correct horse battery staple"])
def test_a_key_that_nobody_guesses_is_taken(key: str) -> None:
    assert weakness(key) is None


@pytest.mark.parametrize("then", REACHABLE[:1] + REACHABLE[-1:])
async def test_a_weak_key_of_when_nobody_could_reach_the_server_keeps_it_from_starting_until_it_is_rotated(
    then: dict[str, Any], tmp_path: Path
) -> None:
    within = Settings(data_dir=tmp_path, api_key=SecretStr("k"))
    beyond = Settings.model_validate({"data_dir": tmp_path, **then})
    for _ in range(2):  # the second start finds the key as it is
        await start(within)
    for _ in range(2):
        with pytest.raises(OperatorError, match=r"key main of app default is easy to guess.*apps rotate-key default'"):
            await start(beyond)
    await start(Settings(data_dir=tmp_path))

    await rotate_key("default", beyond, Console(file=io.StringIO()))
    await start(beyond)


async def test_a_key_of_a_version_that_did_not_note_it_counts_as_strong_until_it_is_set_again(tmp_path: Path) -> None:
    within, beyond = (Settings(data_dir=tmp_path, host=host) for host in ("127.0.0.1", "0.0.0.0"))
    await start(within.model_copy(update={"api_key": SecretStr("k")}))
    with closing(sqlite3.connect(tmp_path / "catalog.db")) as database:
        assert database.execute("UPDATE app_keys SET is_weak = 0").rowcount == 1
        database.commit()
    await start(beyond)

    await start(within.model_copy(update={"api_key": SecretStr("k")}))
    with pytest.raises(OperatorError, match="easy to guess"):
        await start(beyond)


async def start(settings: Settings) -> None:
    service = Service(settings)
    try:
        await service.start()
    finally:
        await service.stop()


def test_a_unix_socket_is_not_loopback_since_a_proxy_there_adds_nothing() -> None:
    assert listens_beyond_loopback(Settings(host="127.0.0.1,unix:/run/a.sock,::1")) == ["unix:/run/a.sock"]
