"""Files that were uploaded: what is told of those that are gone from their store, were replaced, or cannot be read."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from dataclasses import replace

import httpx
import obstore
import pytest
from starlette.types import Message
from structlog.testing import capture_logs

from tests.support.waiting import until
from tests.unit.api.conftest import STORE, ApiHarness
from tests.unit.api.test_copies import recorded
from tests.unit.api.test_playback import scope_of
from wavstream.errors import StoreError
from wavstream.model.options import FileFormat, RecordingOptions
from wavstream.model.recording import Recording, StoredObject
from wavstream.storage.object_store import ObjectFile, ObjectStore


@pytest.fixture
def place() -> str:
    return "store"


@pytest.fixture
def url(world: ApiHarness, finished: Recording) -> str:
    return world.links.capability_path(finished)


async def test_a_file_that_somebody_deleted_in_the_store_is_told_counted_and_logged(
    world: ApiHarness, client: httpx.AsyncClient, finished: Recording, url: str
) -> None:
    obstore.delete(world.bucket, finished.object_key)
    for link in (url, f"/v1/recordings/{finished.id}/audio.wav", f"/v1/recordings/{finished.id}/audio.mp3"):
        with capture_logs() as logs:
            answer = await client.get(link)
        assert answer.status_code == 404
        assert "gone from the store" in answer.json()["detail"]
        (line,) = logs
        assert (line["event"], line["recording_id"], line["store"]) == ("stored_file_gone", finished.id, STORE)
    verified = await client.post(f"/v1/recordings/{finished.id}/verify")

    assert (verified.status_code, "gone from the store" in verified.json()["detail"]) == (404, True)
    assert world.files.wrong == {"gone": 4}
    assert world.stored_downloads.under_way == 0


@pytest.mark.parametrize("how", ["longer", "other words"])
async def test_a_file_that_somebody_replaced_is_not_handed_out_as_the_recording(
    world: ApiHarness, client: httpx.AsyncClient, finished: Recording, url: str, audio: bytes, how: str
) -> None:
    obstore.put(world.bucket, finished.object_key, audio + b"\0" if how == "longer" else audio[::-1])
    for link in (url, f"/v1/recordings/{finished.id}/audio.wav", f"/v1/recordings/{finished.id}/audio.mp3"):
        with capture_logs() as logs:
            answer = await client.get(link)
        assert (answer.status_code, "retry-after" in answer.headers) == (502, False)
        assert "not the one that was recorded" in answer.json()["detail"]
        assert logs[0]["event"] == "stored_file_replaced"

    assert world.files.wrong == {"replaced": 3}


@pytest.mark.parametrize("how", ["replaced", "removed", "away"])
async def test_one_that_cannot_be_read_on_while_it_is_sent_ends_the_answer_and_is_logged(
    world: ApiHarness, running: Recording, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    audio = bytes(range(256)) * 8_192  # two reads
    finished = world.upload(world.commands.finish(running, audio))
    read_at = ObjectFile.read_at

    def fails_behind_the_first(file: ObjectFile, length_bytes: int, offset: int) -> bytes:
        if offset and how == "replaced":
            obstore.put(world.bucket, finished.object_key, audio[::-1])
        elif offset and how == "removed":
            obstore.delete(world.bucket, finished.object_key)
        elif offset:
            raise StoreError(f"{STORE}: the store is away")
        return read_at(file, length_bytes, offset)

    monkeypatch.setattr(ObjectFile, "read_at", fails_behind_the_first)
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    with capture_logs() as logs:
        await world.app(scope_of(world.links.capability_path(finished)), receive, send)

    assert sent[0]["status"] == 200
    assert b"".join(each.get("body", b"") for each in sent) == audio[: 1 << 20]
    assert all(each.get("more_body", True) for each in sent)
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["stored_file_broken_off"]
    assert world.stored_downloads.under_way == 0


async def test_a_store_that_fails_at_the_first_read_is_told_by_the_status(
    world: ApiHarness, client: httpx.AsyncClient, finished: Recording, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(file: ObjectFile, length_bytes: int, offset: int) -> bytes:
        raise StoreError(f"{STORE}: the store is away")

    monkeypatch.setattr(ObjectFile, "read_at", fails)
    answer = await client.get(url)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


async def test_verification_says_in_what_a_file_in_the_store_differs(
    world: ApiHarness, client: httpx.AsyncClient
) -> None:
    recording = world.upload(await recorded(world))
    right = await client.post(f"/v1/recordings/{recording.id}/verify")
    file = bytearray(obstore.get(world.bucket, recording.object_key).bytes())
    file[5_000] ^= 1
    obstore.put(world.bucket, recording.object_key, bytes(file))
    wrong = await client.post(f"/v1/recordings/{recording.id}/verify")
    obstore.put(world.bucket, recording.object_key, bytes(file[:-2]))
    short = await client.post(f"/v1/recordings/{recording.id}/verify")

    assert (right.json()["verified"], right.json()["differences"]) == (True, [])
    assert wrong.json()["differences"] == ["its audio has another hash"]
    assert len(short.json()["differences"]) == 3


async def test_a_store_that_refuses_is_told_with_when_to_try_again(
    world: ApiHarness, client: httpx.AsyncClient, finished: Recording, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(store: ObjectStore, key: str) -> None:
        raise StoreError(f"{store.url}: the store refuses this")

    monkeypatch.setattr(ObjectStore, "open", refuses)
    for link in (url, f"/v1/recordings/{finished.id}/audio.wav", f"/v1/recordings/{finished.id}/audio.mp3"):
        answer = await client.get(link)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "The store of the recordings" in answer.json()["detail"]
        assert STORE not in answer.text
    assert world.stored_downloads.under_way == 0


async def test_a_store_that_no_setting_names_any_more_is_told_so(
    world: ApiHarness, client: httpx.AsyncClient, finished: Recording, url: str
) -> None:
    world.commands.put(replace(finished, stored=StoredObject("s3://before", world.clock())))
    with capture_logs() as logs:
        answer = await client.get(url)

    assert (answer.status_code, STORE in answer.text) == (503, False)
    assert "s3://before is not among the settings" in str(logs)


async def test_a_file_that_is_uploaded_between_its_row_and_its_opening_is_found_all_the_same(
    world: ApiHarness, client: httpx.AsyncClient, running: Recording, audio: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = world.commands.finish(running, audio)
    opened, uploads = type(world.files).open, 0

    def uploaded_first(files: object, recording: Recording, key: str | None = None, **how: bool) -> object:
        nonlocal uploads
        if not uploads:
            uploads += 1
            world.upload(finished)
        return opened(world.files, recording, key, **how)

    monkeypatch.setattr(type(world.files), "open", uploaded_first)
    answer = await client.get(world.links.capability_path(finished))

    assert (answer.status_code, answer.content) == (200, audio)


async def test_a_file_that_is_moved_back_meanwhile_is_found_here(
    world: ApiHarness, client: httpx.AsyncClient, finished: Recording, url: str, audio: bytes
) -> None:
    get = world.commands.find

    async def moved_behind_it(recording_id: str) -> Recording | None:
        read = await get(recording_id)
        if read is not None and read.stored is not None:
            path = world.commands.storage.path(read.object_key)
            path.parent.mkdir(parents=True, exist_ok=True)
            obstore.delete(world.bucket, read.object_key)
            world.commands.put(replace(read, stored=None))
        elif read is not None:
            world.commands.storage.path(read.object_key).write_bytes(audio)
        return read

    world.commands.find = moved_behind_it  # type: ignore[method-assign]
    answer = await client.get(url)

    assert (answer.status_code, answer.content) == (200, audio)


async def test_one_that_is_erased_after_it_was_opened_is_not_sent(
    world: ApiHarness, client: httpx.AsyncClient, finished: Recording, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = ObjectStore.open

    def then_erased(store: ObjectStore, key: str) -> object:
        file = opened(store, key)
        world.commands.put(finished.erased(finished.status.DELETED, world.clock()))
        return file

    monkeypatch.setattr(ObjectStore, "open", then_erased)
    assert (await client.get(url)).status_code == 404


@pytest.mark.parametrize("file_format", list(FileFormat))
async def test_the_copy_of_one_in_the_store_is_that_of_one_that_is_here(
    world: ApiHarness, client: httpx.AsyncClient, file_format: FileFormat
) -> None:
    here = await recorded(world, file_format)
    ext = "mp3" if file_format is FileFormat.WAV else "wav"
    name = world.links.signed_path(here, now=world.clock(), ttl_s=600, ext=ext)
    expected = await client.get(name)
    world.commands.storage.delete(world.upload(here).object_key)  # with the copy beside it

    whole, again = await client.get(name), await client.get(name)
    part = await client.get(name, headers={"Range": "bytes=1000-1999", "If-Range": whole.headers["etag"]})
    head = await client.head(name)

    assert whole.content == again.content == expected.content
    assert dict(whole.headers) == dict(expected.headers) == dict(head.headers)
    assert (part.status_code, part.content) == (206, expected.content[1000:2000])


async def test_a_store_that_hangs_holds_up_no_file_that_is_here(
    world: ApiHarness, audio: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, opened, asked = threading.Event(), ObjectStore.open, list[str]()

    def hangs(store: ObjectStore, key: str) -> object:
        asked.append(key)
        goes_on.wait(60)
        return opened(store, key)

    monkeypatch.setattr(ObjectStore, "open", hangs)
    links = {}
    for number in range(5):
        started = await world.commands.start(
            app_id="two" if number % 2 else "one",
            session_id=f"call-{number}",
            options=RecordingOptions(),
            idempotency_key=None,
            request_digest="",
        )
        recording = world.commands.finish(started, audio)
        links[recording.id] = world.links.capability_path(recording)
        if number < 4:
            world.upload(recording)
    *there, here = links.values()
    async with world.client() as client:
        waiting = [asyncio.create_task(client.get(link)) for link in there]
        await until(lambda: len(asked) == 2)  # as many as there are threads
        answer = await client.get(here)
        assert (answer.status_code, hashlib.sha256(answer.content).digest()) == (200, hashlib.sha256(audio).digest())
        goes_on.set()
        answers = await asyncio.gather(*waiting)
    assert [each.content == audio for each in answers] == [True] * 4
