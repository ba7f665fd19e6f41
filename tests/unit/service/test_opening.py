"""An opener that cannot work is found at the start, and not by recordings without a stream."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

from wavstream.errors import OperatorError
from wavstream.service.opening import StreamOpening, stream_opening
from wavstream.settings import OpenerSettings, Settings

WEBHOOK = {"kind": "webhook", "url": "http://127.0.0.1:9000/"}


async def opening(chosen: dict[str, Any], **settings: Any) -> StreamOpening | None:
    async with AsyncExitStack() as closing:
        return await stream_opening(
            Settings(opener=OpenerSettings(**chosen), **settings),
            closing,
            make_token=lambda app_id, session_id, _: f"{app_id} {session_id}",
            now=lambda: datetime.now(UTC),
        )


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
