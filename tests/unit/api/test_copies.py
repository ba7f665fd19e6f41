"""A recording fetched in the format that it was not made in."""

from __future__ import annotations

import asyncio
import errno
import io
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import soundfile
from starlette.types import Message

from tests.support.files import recorded_file
from tests.support.listening import beeps, find_beeps
from tests.unit.api.conftest import ApiHarness
from tests.unit.api.fakes import START
from wavstream.conversion.conversion import Conversion
from wavstream.conversion.conversions import GrowingFile
from wavstream.model.options import FileFormat, RecordingOptions
from wavstream.model.recording import Recording, Status

SAID = beeps(40.0, rate_hz=8000, frequency_hz=700, offset_s=0.4)[:, None]


async def recorded(world: ApiHarness, file_format: FileFormat = FileFormat.WAV) -> Recording:
    """Return an available recording whose file is audio."""
    recording = await world.commands.start(
        app_id="one",
        session_id="call-77",
        options=RecordingOptions(format=file_format),
        idempotency_key=None,
        request_digest="",
    )
    file, receipt = recorded_file(SAID, 8000, file_format)
    world.commands.storage.path(recording.object_key).parent.mkdir(parents=True, exist_ok=True)
    world.commands.storage.path(recording.object_key).write_bytes(file)
    expires_at = world.clock() + timedelta(hours=24)
    return world.commands.put(
        replace(recording, status=Status.AVAILABLE, receipt=receipt, ended_at=world.clock(), expires_at=expires_at)
    )


async def link_to(client: httpx.AsyncClient, recording: Recording, ext: str) -> str:
    answer = await client.get(f"/v1/recordings/{recording.id}.{ext}")
    assert answer.status_code == 307
    return answer.headers["location"]


async def converted() -> None:
    """Wait until nothing is converted any more."""
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name().startswith("convert ")))


@pytest.mark.parametrize(
    ("recorded_as", "asked_for", "media_type"),
    [(FileFormat.WAV, "mp3", "audio/mpeg"), (FileFormat.MP3, "wav", "audio/wav")],
)
async def test_the_other_format_is_made_on_the_first_request_and_kept(
    world: ApiHarness, client: httpx.AsyncClient, recorded_as: FileFormat, asked_for: str, media_type: str
) -> None:
    recording = await recorded(world, recorded_as)
    assert recording.receipt is not None
    link = await link_to(client, recording, asked_for)

    first = await client.get(link)
    await converted()
    # What was kept is what is sent from now on.
    world.commands.storage.path(recording.object_key).write_bytes(b"not read again")
    again = await client.get(link)
    part = await client.get(link, headers={"Range": "bytes=1000-1999"})

    samples, rate_hz = soundfile.read(io.BytesIO(first.content), dtype="int16")
    assert samples.shape == (len(SAID),)
    assert find_beeps(samples, rate_hz, 700) == pytest.approx(find_beeps(SAID[:, 0], 8000, 700), abs=0.001)
    assert (again.status_code, again.content) == (200, first.content)
    assert (part.status_code, part.content) == (206, first.content[1000:2000])
    assert (
        dict(first.headers)
        == dict(again.headers)
        == {
            "content-type": media_type,
            "content-length": str(len(first.content)),
            "content-disposition": f'inline; filename="call-77-1793527200.{asked_for}"',
            "accept-ranges": "bytes",
            "etag": f'"{recording.receipt.audio_sha256}-{asked_for}"',
            "last-modified": again.headers["last-modified"],
            "cache-control": "private, no-cache",
            "x-content-type-options": "nosniff",
        }
    )


async def test_the_format_that_it_was_made_in_is_the_file_itself(world: ApiHarness, client: httpx.AsyncClient) -> None:
    recording = await recorded(world, FileFormat.MP3)

    answer = await client.get(await link_to(client, recording, "mp3"))

    assert answer.content == world.commands.storage.path(recording.object_key).read_bytes()
    assert answer.headers["content-type"] == "audio/mpeg"


async def test_only_a_get_of_what_the_caller_does_not_have_makes_the_file(
    world: ApiHarness, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = await recorded(world)
    link = await link_to(client, recording, "mp3")
    monkeypatch.setattr(world.conversions, "begin", None)

    head = await client.head(link)
    unchanged = await client.get(link, headers={"If-None-Match": head.headers["etag"]})
    outside = await client.get(link, headers={"Range": "bytes=99999999-"})

    assert (head.status_code, head.headers["content-length"]) == (200, str(Conversion.of(recording).size_bytes))
    assert unchanged.status_code == 304
    assert outside.status_code == 416


async def test_a_range_of_a_file_that_is_still_made_is_that_of_the_whole(
    world: ApiHarness, client: httpx.AsyncClient
) -> None:
    recording = await recorded(world)
    link = await link_to(client, recording, "mp3")
    size_bytes = Conversion.of(recording).size_bytes

    # Both at once: neither finds the file made.
    part, whole = await asyncio.gather(client.get(link, headers={"Range": "bytes=-5000"}), client.get(link))

    assert (part.status_code, part.content) == (206, whole.content[-5000:])
    assert part.headers["content-range"] == f"bytes {size_bytes - 5000}-{size_bytes - 1}/{size_bytes}"


async def test_a_caller_who_goes_away_does_not_stop_the_making(world: ApiHarness, client: httpx.AsyncClient) -> None:
    recording = await recorded(world)
    link = await link_to(client, recording, "mp3")
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await world.app(_scope(link), receive, send)
    await converted()

    assert [message["type"] for message in sent] == ["http.response.start"]
    assert world.commands.storage.path(recording.object_key + ".mp3-copy").exists()


async def test_a_conversion_that_fails_before_its_answer_answers_503(
    world: ApiHarness, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    link = await link_to(client, await recorded(world), "mp3")
    monkeypatch.setattr(Conversion, "write", fail)

    answer = await client.get(link)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_conversion_that_has_failed_before_its_first_bytes_are_read_answers_503(
    world: ApiHarness, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Conversion, __: Path, target: Path, *, grown: Callable[[int], None]) -> None:
        target.write_bytes(b"\xff" * 100)
        grown(100)
        raise OSError(errno.ENOSPC, "No space left on device")

    def grow_untold(growing: GrowingFile, made_bytes: int) -> None:
        growing._made_bytes = made_bytes

    link = await link_to(client, await recorded(world), "mp3")
    monkeypatch.setattr(Conversion, "write", fail)
    monkeypatch.setattr(GrowingFile, "grow", grow_untold)

    assert (await client.get(link)).status_code == 503


async def test_a_conversion_that_fails_within_its_answer_ends_it_before_its_length(
    world: ApiHarness, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sending = threading.Event()
    sent: list[Message] = []

    def fail(_: Conversion, __: Path, target: Path, *, grown: Callable[[int], None]) -> None:
        target.write_bytes(b"\xff" * 100)
        grown(100)
        sending.wait(60)
        raise OSError(errno.ENOSPC, "No space left on device")

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)
        sending.set()

    link = await link_to(client, await recorded(world), "mp3")
    monkeypatch.setattr(Conversion, "write", fail)
    await world.app(_scope(link), receive, send)

    assert [message["body"] for message in sent if message.get("body")] == [b"\xff" * 100]
    assert all(message.get("more_body", True) for message in sent)
    assert sent[-1]["more_body"]


async def test_the_copy_ends_with_the_recording(world: ApiHarness, client: httpx.AsyncClient) -> None:
    recording = await recorded(world)
    link = await link_to(client, recording, "mp3")
    assert (await client.get(link)).status_code == 200
    await converted()
    copy = world.commands.storage.path(recording.object_key + ".mp3-copy")
    assert copy.exists()

    world.clock.move(hours=24)
    for expired in (link, f"/v1/recordings/{recording.id}.mp3"):
        answer = await client.get(expired)
        assert (answer.status_code, answer.content) == (404, b"")
    world.clock.moment = START
    assert (await client.delete(f"/v1/recordings/{recording.id}")).status_code == 204
    assert not copy.parent.exists()


def _scope(link: str) -> dict[str, Any]:
    url = urlsplit(link)
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": url.path,
        "query_string": url.query.encode(),
        "headers": [],
        "client": ("192.0.2.7", 1),
        "server": ("rec.example.com", 443),
        "scheme": "https",
        "root_path": "",
    }
