"""An opener that cannot work is found at the start, and not by recordings without a stream."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from wavstream.errors import Forbidden, OperatorError, WavstreamError
from wavstream.service.opening import make_opener
from wavstream.sessions.openers.base import Opener, OpenRequest
from wavstream.settings import OpenerSettings, Settings

ARI = {"kind": "ari", "url": "http://127.0.0.1:9/ari", "user": "recorder", "password": "secret"}
WEBHOOK = {"kind": "webhook", "url": "http://127.0.0.1:9000/"}


async def opening(chosen: dict[str, Any], apps: tuple[str, ...] = (), **settings: Any) -> Opener | None:
    """Return the opener of a server that has these apps."""

    async def is_only_app(app_id: str) -> bool:
        return set(apps) <= {app_id}

    async with AsyncExitStack() as closing:
        return await make_opener(
            Settings(opener=OpenerSettings(**chosen), **settings),
            closing,
            now=lambda: datetime.now(UTC),
            is_only_app=is_only_app,
        )


async def may_open(app_id: str, chosen: dict[str, Any], apps: tuple[str, ...]) -> bool:
    """Whether the opener asks the media server, of which there is none here, for this app."""
    opener = await opening(chosen, apps)
    assert opener is not None
    request = OpenRequest(
        app_id=app_id,
        session_id=str(uuid4()),
        recording_id="5f0c",
        media_url="ws://rec.example.com/media/pcm/s",
        stream_token=None,
        expires_at=datetime.now(UTC),
    )
    try:
        await opener.open(request)
    except Forbidden:
        return False
    except (WavstreamError, RuntimeError):  # it is closed already
        return True
    raise AssertionError("somebody answered")


@pytest.mark.parametrize(
    ("chosen", "apps", "may"),
    [
        # Of one app every channel is its own.
        ({"kind": "esl"}, ("shop",), {"shop"}),
        ({"kind": "esl"}, (), {"shop", "bank"}),
        # Of several nobody knows whose a channel is, until it is said who may, or what tells.
        ({"kind": "esl"}, ("shop", "bank"), set()),
        ({"kind": "esl", "apps": "shop"}, ("shop", "bank"), {"shop"}),
        ({"kind": "esl", "apps": " shop , bank "}, ("shop", "bank"), {"shop", "bank"}),
        ({"kind": "esl", "owner_variable": "recorded_by"}, ("shop", "bank"), {"shop", "bank"}),
        ({"kind": "esl", "owner_variable": "recorded_by", "apps": ["bank"]}, ("shop", "bank"), {"bank"}),
        (ARI, ("shop",), {"shop"}),
        (ARI, ("shop", "bank"), set()),
        ({**ARI, "owner_variable": "recorded_by"}, ("shop", "bank"), {"shop", "bank"}),
        # Who listens at a webhook is told which app asks.
        (WEBHOOK, ("shop", "bank"), {"shop", "bank"}),
        ({**WEBHOOK, "apps": "bank"}, ("shop", "bank"), {"bank"}),
    ],
)
async def test_an_opener_is_asked_for_the_apps_whose_calls_it_may_have_streamed(
    chosen: dict[str, Any], apps: tuple[str, ...], may: set[str]
) -> None:
    assert {app_id for app_id in ("shop", "bank") if await may_open(app_id, chosen, apps)} == may


@pytest.mark.parametrize("chosen", [WEBHOOK, {"kind": "esl"}])
async def test_a_dialect_that_is_not_there_is_refused_with_those_that_are(chosen: dict[str, Any]) -> None:
    with pytest.raises(OperatorError, match=r"WAVSTREAM_OPENER__DIALECT .*'audio_stream': .*audio-fork, audio-stream"):
        await opening({**chosen, "dialect": "audio_stream"})


@pytest.mark.parametrize(
    ("command", "dialect", "right"),
    [
        ("uuid_audio_fork", "audio-stream", "audio-fork"),
        ("uuid_audio_stream", "audio-fork", "audio-stream"),
        ("uuid_audio_stream", "pcm", "audio-stream"),
    ],
)
async def test_a_dialect_that_the_command_does_not_speak_is_refused_with_the_one_that_it_does(
    command: str, dialect: str, right: str
) -> None:
    chosen = {"kind": "esl", "command": command}
    with pytest.raises(OperatorError, match=f"{dialect}.*{command} speaks; set it to {right}"):
        await opening({**chosen, "dialect": dialect})
    assert await opening({**chosen, "dialect": right}) is not None


async def test_a_webhook_may_open_any_dialect_that_is_there() -> None:
    assert await opening({**WEBHOOK, "dialect": "pcm"}) is not None


async def test_a_dialect_that_nobody_is_asked_for_does_not_keep_the_server_from_starting() -> None:
    assert await opening({"dialect": "audio_stream"}) is None
    assert await opening({**WEBHOOK, "dialect": "audio_stream"}, url="") is None


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ({"url": None}, "URL is missing: the opener ari has to know where Asterisk's ARI is"),
        ({"user": None}, "USER or WAVSTREAM_OPENER__PASSWORD is missing"),
        ({"password": None}, "USER or WAVSTREAM_OPENER__PASSWORD is missing"),
        ({"rate": 40_000}, "no format of 40000 Hz"),
        ({"channel": "x"}, "a group of this name"),
    ],
)
async def test_an_opener_of_asterisk_that_cannot_work_keeps_the_server_from_starting(
    chosen: dict[str, Any], says: str
) -> None:
    with pytest.raises(OperatorError, match=says):
        await opening({**ARI, **chosen})
    assert await opening(ARI) is not None


@pytest.mark.parametrize("url", ["opener.example/open", "ftp://opener.example", "http://", "ws://opener.example"])
async def test_an_address_that_nobody_can_post_to_is_refused(url: str) -> None:
    with pytest.raises((OperatorError, ValidationError), match=r"WAVSTREAM_OPENER__URL|must be http:// or https://"):
        await opening({"kind": "webhook", "url": url})
