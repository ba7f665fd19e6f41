from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import obstore
import pytest
from starlette.types import Message, Send
from structlog.testing import capture_logs

from tests.unit.api.conftest import ApiHarness
from tests.unit.api.fakes import START
from wavstream.api.file_part import CHUNK_BYTES, PIECE_BYTES, FilePart, FileReader
from wavstream.errors import LimitReached
from wavstream.model.file_names import content_disposition
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import Recording, Status
from wavstream.turns.fair_pool import FairPool, Places


@pytest.fixture(params=["here", "store"])
def place(request: pytest.FixtureRequest) -> str:
    """Where the file lies; what a link answers is the same."""
    return str(request.param)


HERE = pytest.mark.parametrize("place", ["here"])


@pytest.fixture
def url(world: ApiHarness, finished: Recording) -> str:
    """Return the capability URL of the finished recording."""
    return world.links.capability_path(finished)


async def test_the_file_comes_whole_with_the_headers_that_players_need(
    client: httpx.AsyncClient, finished: Recording, url: str, audio: bytes
) -> None:
    response = await client.get(url)
    assert (response.status_code, response.content) == (200, audio)
    assert len(audio) > 3 * CHUNK_BYTES
    assert dict(response.headers) == {
        "content-type": "audio/wav",
        "content-length": str(len(audio)),
        "content-disposition": 'inline; filename="call-77-1793527200.wav"',
        "accept-ranges": "bytes",
        "etag": f'"{hashlib.sha256(audio).hexdigest()}"',
        "last-modified": format_datetime(START, usegmt=True),
        "cache-control": "private, no-cache",
        "x-content-type-options": "nosniff",
    }


async def test_head_answers_as_get_without_the_bytes(client: httpx.AsyncClient, url: str) -> None:
    got, head = await client.get(url), await client.head(url, headers={"Range": "bytes=0-9"})
    assert (head.status_code, head.content, head.headers) == (200, b"", got.headers)


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-43", 0, 44),
        ("bytes=300000-600000", 300_000, 600_001),
        ("bytes=-100", -100, None),
        ("bytes=44-", 44, None),
    ],
)
async def test_a_range_gives_its_bytes(
    client: httpx.AsyncClient, url: str, audio: bytes, header: str, start: int, end: int | None
) -> None:
    response = await client.get(url, headers={"Range": header})
    first = start % len(audio)
    expected = audio[start:end]
    assert (response.status_code, response.content) == (206, expected)
    assert response.headers["content-range"] == f"bytes {first}-{first + len(expected) - 1}/{len(audio)}"
    assert response.headers["content-length"] == str(len(expected))


async def test_a_range_outside_the_file_answers_416_with_the_size(
    client: httpx.AsyncClient, url: str, audio: bytes
) -> None:
    response = await client.get(url, headers={"Range": f"bytes={len(audio)}-"})
    assert (response.status_code, response.headers["content-range"]) == (416, f"bytes */{len(audio)}")
    assert response.headers["content-type"] == "application/problem+json"


async def test_several_ranges_give_the_whole_file(client: httpx.AsyncClient, url: str, audio: bytes) -> None:
    response = await client.get(url, headers={"Range": "bytes=0-1,5-6"})
    assert (response.status_code, response.content) == (200, audio)


async def test_a_range_of_another_file_than_ours_gives_the_whole_file(
    client: httpx.AsyncClient, url: str, audio: bytes
) -> None:
    etag = (await client.head(url)).headers["etag"]
    ours = await client.get(url, headers={"Range": "bytes=0-1", "If-Range": etag})
    other = await client.get(url, headers={"Range": "bytes=0-1", "If-Range": '"other"'})
    outside = await client.get(url, headers={"Range": "bytes=9999999-", "If-Range": '"other"'})
    assert [len(each.content) for each in (ours, other, outside)] == [2, len(audio), len(audio)]


async def test_a_caller_who_has_the_file_gets_304_without_it(client: httpx.AsyncClient, url: str) -> None:
    etag = (await client.head(url)).headers["etag"]
    response = await client.get(url, headers={"If-None-Match": etag, "Range": "bytes=0-1"})
    assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", etag)


async def test_a_caller_who_means_another_file_gets_412(client: httpx.AsyncClient, url: str) -> None:
    assert (await client.get(url, headers={"If-Match": '"other"'})).status_code == 412


async def test_the_wav_route_leads_to_a_link_of_ten_minutes(
    world: ApiHarness, client: httpx.AsyncClient, finished: Recording, audio: bytes
) -> None:
    for method in ("GET", "HEAD"):
        answer = await client.request(method, f"/v1/recordings/{finished.id}.wav")
        assert (answer.status_code, answer.headers["cache-control"]) == (307, "no-store")
    link = answer.headers["location"]
    async with world.client(None) as anyone:
        assert (await anyone.get(link)).content == audio
        world.clock.move(seconds=599)
        assert (await anyone.get(link)).status_code == 200
        world.clock.move(seconds=1)
        late = await anyone.get(link)
        assert (late.status_code, late.headers["content-type"]) == (403, "application/problem+json")


async def test_a_link_of_which_anything_is_changed_answers_403(
    world: ApiHarness, client: httpx.AsyncClient, finished: Recording, url: str
) -> None:
    signed = world.links.signed_path(finished, now=START, ttl_s=600)
    seal = url.split("/")[3]
    changed = [
        url.replace(finished.id, "0" * 32),
        url.replace(seal, seal[:-2] + ("AA" if not seal.endswith("AA") else "BB")),
        url.replace("call-77", "call-78"),
        url + "x",
        url + "?signature=",
        signed.replace("expires=1", "expires=2"),
        signed.replace("expires=", "expires=x"),
        signed.replace("call-77", "call-78"),
        signed.partition("?")[0],
        "/files/",
        "/files/x",
        f"/files/{finished.id}",
        f"/files/{finished.id}/",
        f"/files/{finished.id}/../{finished.id}",
    ]
    for link in changed:
        response = await client.get(link)
        assert (response.status_code, response.headers["content-type"]) == (403, "application/problem+json"), link


async def test_a_wrong_signature_is_403_whether_or_not_there_is_such_a_recording(
    world: ApiHarness, client: httpx.AsyncClient, finished: Recording, url: str
) -> None:
    world.clock.move(hours=25)
    there, never = await client.get(url + "x"), await client.get(url.replace(finished.id, "0" * 32) + "x")
    assert there.status_code == never.status_code == 403
    assert there.content == never.content


async def test_both_links_answer_404_with_an_empty_body_from_the_second_that_retention_ends(
    world: ApiHarness, client: httpx.AsyncClient, finished: Recording, url: str
) -> None:
    world.clock.move(hours=24, seconds=-1)
    signed = world.links.signed_path(finished, now=world.clock(), ttl_s=600)
    assert [(await client.get(link)).status_code for link in (url, signed)] == [200, 200]
    world.clock.move(seconds=1)
    for link in (url, signed, f"/v1/recordings/{finished.id}.wav"):
        response = await client.get(link)
        assert (response.status_code, response.content) == (404, b"")


async def test_the_end_of_the_recording_is_told_before_the_end_of_the_link(
    world: ApiHarness, client: httpx.AsyncClient, finished: Recording
) -> None:
    signed = world.links.signed_path(finished, now=START, ttl_s=600)
    world.clock.move(hours=24)
    response = await client.get(signed)
    assert (response.status_code, response.content) == (404, b"")


@pytest.mark.parametrize("status", [Status.EXPIRED, Status.DELETED])
async def test_a_recording_that_was_removed_answers_404_with_an_empty_body(
    world: ApiHarness, client: httpx.AsyncClient, finished: Recording, url: str, status: Status
) -> None:
    world.commands.put(replace(finished, status=status))
    response = await client.get(url)
    assert (response.status_code, response.content) == (404, b"")


async def test_a_recording_whose_row_is_gone_answers_404_with_an_empty_body(
    world: ApiHarness, client: httpx.AsyncClient, finished: Recording, url: str
) -> None:
    del world.commands.recordings[finished.id]
    response = await client.get(url)
    assert (response.status_code, response.content) == (404, b"")


@pytest.mark.parametrize(
    ("status", "retry_after"),
    [
        (Status.ACCEPTED, "5"),
        (Status.ONGOING, "5"),
        (Status.PAUSED, "5"),
        (Status.COMPLETED, "1"),
        (Status.ABSENT, None),
        (Status.FAILED, None),
    ],
)
async def test_a_file_that_is_not_there_answers_404_and_says_whether_it_will_be(
    world: ApiHarness, client: httpx.AsyncClient, running: Recording, status: Status, retry_after: str | None
) -> None:
    world.commands.put(replace(running, status=status))
    for link in (world.links.capability_path(running), f"/v1/recordings/{running.id}.wav"):
        response = await client.get(link)
        assert (response.status_code, response.headers.get("retry-after")) == (404, retry_after)


@HERE
async def test_a_file_that_vanished_answers_404_and_is_logged_without_its_link(
    world: ApiHarness, client: httpx.AsyncClient, finished: Recording, url: str
) -> None:
    world.commands.storage.path(finished.object_key).unlink()
    with capture_logs() as logs:
        response = await client.get(url)
    assert (response.status_code, response.content) == (404, b"")
    (line,) = logs
    assert (line["log_level"], line["recording_id"]) == ("error", finished.id)
    assert url.split("/")[3] not in str(line)


@HERE
@pytest.mark.parametrize("what", ["file", "copy", "audio", "waveform", "verify"])
async def test_of_a_file_that_may_come_nobody_is_told_that_it_is_gone(
    world: ApiHarness, client: httpx.AsyncClient, finished: Recording, url: str, what: str
) -> None:
    world.commands.storage.path(finished.object_key).unlink()
    world.to_come.append(LimitReached("The file of the recording is being made again.", retry_after_s=2))
    of_it = f"/v1/recordings/{finished.id}"
    asked = {
        "file": ("GET", url),
        "copy": ("GET", f"{of_it}/audio.mp3"),
        "audio": ("GET", f"{of_it}/audio.wav"),
        "waveform": ("GET", f"{of_it}/waveform"),
        "verify": ("POST", f"{of_it}/verify"),
    }
    with capture_logs() as logs:
        response = await client.request(*asked[what])
    assert (response.status_code, response.headers.get("retry-after")) == (503, "2")
    assert logs == []
    world.to_come.clear()
    assert (await client.request(*asked[what])).status_code == 404


@HERE
@pytest.mark.parametrize("how", ["file", "verify"])
async def test_a_file_that_came_while_it_was_asked_whether_it_is_missing_is_given(
    world: ApiHarness, client: httpx.AsyncClient, finished: Recording, url: str, audio: bytes, how: str
) -> None:
    path = world.commands.storage.path(finished.object_key)
    path.unlink()
    world.on_missing.append(lambda: path.write_bytes(audio))
    with capture_logs() as logs:
        if how == "file":
            assert (await client.get(url)).content == audio
        else:
            assert (await client.post(f"/v1/recordings/{finished.id}/verify")).status_code == 200
    assert logs == []


@HERE
async def test_beyond_the_downloads_of_an_app_and_of_all_the_answer_names_the_limit_and_when_to_try_again(
    world: ApiHarness, client: httpx.AsyncClient, url: str
) -> None:
    others = [world.downloads.enter("two"), world.downloads.enter("two")]
    places = [world.downloads.enter("one"), world.downloads.enter("one")]
    in_all = await client.get(url)
    for place in others:
        place.leave()
    places.append(world.downloads.enter("one"))
    of_app = await client.get(url)
    for place in places:
        place.leave()

    assert (in_all.status_code, of_app.status_code) == (503, 429)
    assert in_all.headers["retry-after"] == of_app.headers["retry-after"] == "1"
    assert "limits.downloads is" in in_all.json()["detail"]
    assert "limits.downloads_per_app is 3" in of_app.json()["detail"]
    assert (await client.get(url)).status_code == 200


@pytest.mark.parametrize("how", ["whole", "range", "head", "unchanged", "unsatisfiable", "gone"])
async def test_an_answer_gives_its_place_back_however_it_ends(
    world: ApiHarness, client: httpx.AsyncClient, finished: Recording, url: str, how: str
) -> None:
    if how == "gone" and finished.stored is None:
        world.commands.storage.path(finished.object_key).unlink()
    elif how == "gone":
        obstore.delete(world.bucket, finished.object_key)
    headers = {"range": {"Range": "bytes=1-2"}, "unsatisfiable": {"Range": "bytes=99999999-"}}.get(how, {})
    if how == "unchanged":
        headers = {"If-None-Match": (await client.get(url)).headers["etag"]}
    for _ in range(5):  # more than there are places
        answer = await client.request("HEAD" if how == "head" else "GET", url, headers=headers)
        assert answer.status_code not in (429, 503)

    assert (world.downloads.under_way, world.stored_downloads.under_way) == (0, 0)


@HERE
async def test_a_file_that_cannot_be_read_answers_503(
    world: ApiHarness, client: httpx.AsyncClient, finished: Recording, url: str
) -> None:
    path = world.commands.storage.path(finished.object_key)
    path.unlink()
    path.mkdir()
    assert (await client.get(url)).status_code == 503


@pytest.mark.parametrize(
    "session_id", ["../../etc/passwd", 'a"b\\c;d', "Gespr\u00e4ch 1", "100%", "a/b?c=d#e", "\U0001f4de"]
)
async def test_a_session_id_of_any_characters_makes_a_link_that_works(world: ApiHarness, session_id: str) -> None:
    commands = world.commands
    recording = commands.finish(
        await commands.start(
            app_id="one", session_id=session_id, options=RecordingOptions(), idempotency_key=None, request_digest=""
        ),
        b"RIFF",
    )
    async with world.client() as client:
        links = [(await client.get(f"/v1/recordings/{recording.id}")).json()["url"]]
        links.append((await client.get(f"/v1/recordings/{recording.id}.wav")).headers["location"])
        for link in links:
            assert (await client.get(link)).content == b"RIFF"


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("call-77.wav", 'inline; filename="call-77.wav"'),
        ('a"b\\c.wav', "inline; filename=\"a_b_c.wav\"; filename*=UTF-8''a%22b%5Cc.wav"),
        (
            "a\r\nSet-Cookie: x.wav",
            "inline; filename=\"a__Set-Cookie_ x.wav\"; filename*=UTF-8''a%0D%0ASet-Cookie%3A%20x.wav",
        ),
        ("\u00e4.wav", "inline; filename=\"_.wav\"; filename*=UTF-8''%C3%A4.wav"),
        (
            "звонок-77.wav",
            "inline; filename=\"______-77.wav\"; filename*=UTF-8''%D0%B7%D0%B2%D0%BE%D0%BD%D0%BE%D0%BA-77.wav",
        ),
        ("100%.wav", "inline; filename=\"100_.wav\"; filename*=UTF-8''100%25.wav"),
    ],
)
def test_a_file_name_cannot_break_out_of_its_header(name: str, header: str) -> None:
    assert content_disposition(name) == header


@HERE
async def test_a_caller_who_goes_away_ends_the_reading(world: ApiHarness, url: str) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        if any(message["type"] == "http.response.body" for message in sent):
            return {"type": "http.disconnect"}
        await asyncio.Event().wait()
        raise AssertionError

    await world.app(scope_of(url), receive, _recorder(sent))
    assert sum(len(message.get("body", b"")) for message in sent) == CHUNK_BYTES


class _CountedReader(FileReader):
    offsets: list[int]

    async def read(self, length_bytes: int, offset: int) -> bytes:
        self.offsets.append(offset)
        return await super().read(length_bytes, offset)


async def test_what_a_caller_did_not_take_in_time_is_not_kept_for_it_but_read_again(tmp_path: Path) -> None:
    """It takes the first piece of each chunk and then nothing, until nothing is held for it any more."""
    audio = bytes(range(251)) * 3_000
    (tmp_path / "file").write_bytes(audio)
    pool = FairPool("test", threads=1, places=Places(in_all=1, of_app=1, setting="test"))
    reader, got, in_hand = _CountedReader(pool, "one"), bytearray(), 0
    reader.offsets = []
    await reader.open(lambda: (tmp_path / "file").open("rb"))

    async def send(message: Message) -> None:
        nonlocal in_hand
        piece = message.get("body", b"")
        in_hand = in_hand + len(piece) if piece else 0
        if in_hand > PIECE_BYTES:
            await asyncio.Event().wait()
        got.extend(piece)

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    @contextlib.asynccontextmanager
    async def reading() -> AsyncIterator[Callable[[int], None]]:
        yield lambda _: None

    answer = FilePart(reader, None, size_bytes=len(audio), headers={}, reading=reading, patience_s=0.001)
    await answer({"type": "http"}, receive, send)
    await pool.stop()
    assert bytes(got) == audio
    assert reader.offsets == list(range(0, len(audio), PIECE_BYTES))


@HERE
async def test_a_file_that_shrinks_while_it_is_read_breaks_the_answer_off(
    world: ApiHarness, finished: Recording, url: str
) -> None:
    sent: list[Message] = []
    path = world.commands.storage.path(finished.object_key)

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) == 2:
            path.write_bytes(b"short")

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(RuntimeError, match="response already started"):
        await world.app(scope_of(url), receive, send)
    assert all(message.get("more_body", True) for message in sent)


def scope_of(path: str) -> dict[str, Any]:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [],
        "client": ("192.0.2.7", 1),
        "server": ("rec.example.com", 443),
        "scheme": "https",
        "root_path": "",
    }


def _recorder(sent: list[Message]) -> Send:
    async def send(message: Message) -> None:
        sent.append(message)

    return send
