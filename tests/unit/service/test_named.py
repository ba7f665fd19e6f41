"""An app or an event that a setting or an app names, and that there is not, is told at the start."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from wavstream.access.keys import KeyDigests
from wavstream.catalog.catalog import Catalog
from wavstream.errors import OperatorError
from wavstream.model.app import App, WebhookTarget
from wavstream.service.named import check_names
from wavstream.service.wiring import make_default_app
from wavstream.settings import Settings

URL = {"kind": "webhook", "url": "http://127.0.0.1:9000/"}
SIGNED = {"auth_token": "secret"}


def apps(*names: str) -> list[App]:
    return [App(name, created_at=datetime.now(UTC)) for name in names]


@pytest.mark.parametrize(
    ("settings", "there", "wrong"),
    [
        ({"twilio": {**SIGNED, "app": "nosuch"}}, ("shop",), "WAVSTREAM_TWILIO__APP .*'nosuch'.*there are: shop"),
        ({"twilio": {"app": "nosuch"}}, (), "WAVSTREAM_TWILIO__APP"),
        ({"audiohook": {"api_key": "k", "app": "nosuch"}}, ("shop",), "WAVSTREAM_AUDIOHOOK__APP .*there are: shop"),
        ({"audiohook": {"api_key": "k"}}, (), "WAVSTREAM_AUDIOHOOK__APP .*'default'"),
        ({"twilio": SIGNED}, (), "WAVSTREAM_TWILIO__APP .*'default'"),
        ({"opener": {**URL, "apps": ["nosuch"]}}, ("shop",), "WAVSTREAM_OPENER__APPS .*'nosuch'"),
    ],
)
def test_a_setting_that_can_do_nothing_without_its_app_keeps_the_server_from_starting(
    settings: dict[str, Any], there: tuple[str, ...], wrong: str
) -> None:
    with pytest.raises(OperatorError, match=wrong):
        check_names(Settings(**settings), apps(*there))
    with capture_logs() as logs:  # where apps are added over HTTP, it takes a server that runs
        check_names(Settings(**settings, admin_api_key=SecretStr("key-of-the-administrators")), apps(*there))
    assert [line["event"] for line in logs] == ["setting_names_no_app"]


@pytest.mark.parametrize(
    ("settings", "there", "warnings"),
    [
        ({}, (), 0),
        ({"twilio": {**SIGNED, "app": "shop"}}, ("shop",), 0),
        ({"opener": {**URL, "apps": ["shop", "nosuch"]}}, ("shop",), 1),
        ({"opener": {"kind": "none", "apps": ["nosuch"]}}, ("shop",), 0),
        ({"opener": {**URL, "apps": ["default"]}}, (), 0),
        ({"quotas": {"apps": {"nosuch": {"streams": 1}, "shop": {}}}}, ("shop",), 1),
    ],
)
def test_one_name_of_several_or_a_quota_is_a_warning(
    settings: dict[str, Any], there: tuple[str, ...], warnings: int
) -> None:
    with capture_logs() as logs:
        check_names(Settings(**settings), apps(*there))
    assert [(line["event"], line["log_level"]) for line in logs] == [("setting_names_no_app", "warning")] * warnings


@pytest.mark.parametrize(
    ("twilio", "there", "told"),
    [
        ({"app": "shop"}, ("shop",), ["twilio.app"]),
        ({"auth_token": "secret"}, ("default", "shop"), ["twilio.auth_token"]),
        ({"auth_token": "secret"}, ("default",), []),
        ({"auth_token": "secret", "app": "shop"}, ("default", "shop"), []),
        ({}, ("default", "shop"), []),
    ],
)
def test_a_setting_that_is_of_no_use_without_another_is_a_warning(
    twilio: dict[str, str], there: tuple[str, ...], told: list[str]
) -> None:
    with capture_logs() as logs:
        check_names(Settings(twilio=twilio), apps(*there))  # type: ignore[arg-type]
    assert [(line["event"], line["setting"]) for line in logs] == [("setting_incomplete", each) for each in told]


@pytest.mark.parametrize("hook", [{"client_secret": "c2VjcmV0"}, {"app": "shop"}])
def test_a_secret_or_an_app_of_audiohook_without_its_key_is_a_warning(hook: dict[str, str]) -> None:
    with capture_logs() as logs:
        check_names(Settings(audiohook=hook), apps("default", "shop"))  # type: ignore[arg-type]
    assert [(line["event"], line["setting"]) for line in logs] == [("setting_incomplete", "audiohook")]


def test_an_event_that_an_earlier_version_took_is_a_warning() -> None:
    target = WebhookTarget("https://shop.example/hooks", ("recording.complete", "call.new"))
    with capture_logs() as logs:
        check_names(Settings(), [App("shop", created_at=datetime.now(UTC), webhook=target)])
    (line,) = logs
    assert (line["event"], line["app_id"]) == ("app_event_unknown", "shop")
    assert "did you mean recording.completed?" in line["error"]


async def test_a_key_of_the_default_app_that_takes_the_place_of_another_is_told(catalog: Catalog) -> None:
    digests = KeyDigests(b"a master key of these tests, long")
    told = []
    for key in ("the-first-key-of-default", "the-first-key-of-default", "another-key-of-default"):
        with capture_logs() as logs:
            settings = Settings(api_key=SecretStr(key))
            await make_default_app(settings, catalog.apps, digests=digests, now=datetime.now(UTC))
        told.append([line["event"] for line in logs])
    assert told == [[], [], ["default_key_replaced"]]
