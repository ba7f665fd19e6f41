"""One store, by a real server that speaks S3: what is put is there whole, and what is wrong is said by its name."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.weed import READ_ONLY_KEY, SECRET, Weed
from wavstream.errors import StoreError
from wavstream.settings import StorageSettings
from wavstream.storage.object_store import PART_BYTES, ObjectStore
from wavstream.storage.probe import MARKER, claim, probe
from wavstream.storage.stores import Stores

pytestmark = pytest.mark.xdist_group("weed")
SOON = 2.0
"""Seconds after which a request to a store that stands still has failed."""


def a_store(weed: Weed, prefix: str = "a", **more: Any) -> ObjectStore:
    settings = weed.settings(prefix) | more
    store = Stores.of(StorageSettings(**settings)).first
    assert store is not None
    return store


async def test_a_file_of_many_parts_is_there_whole_with_what_is_said_of_it(weed: Weed, tmp_path: Path) -> None:
    content = np.random.default_rng(1).bytes(2 * PART_BYTES + 12_345)
    path = tmp_path / "long.wav"
    path.write_bytes(content)
    store = a_store(weed)

    etag = await store.put("x/long.wav", path, attributes={"Content-Type": "audio/wav", "sha256": "ab"})

    there = weed.read("a/x/long.wav")
    assert hashlib.sha256(there).hexdigest() == hashlib.sha256(content).hexdigest()
    found = await store.head("x/long.wav")
    assert found is not None
    assert (found.size_bytes, found.etag) == (len(content), etag)
    assert {name.lower(): text for name, text in found.attributes.items()}["sha256"] == "ab"
    assert await store.read("x/long.wav", 100, 50) == content[100:150]
    with store.open("x/long.wav") as file:
        file.seek(PART_BYTES - 5)
        assert file.read(10) == content[PART_BYTES - 5 : PART_BYTES + 5]


async def test_what_is_put_again_takes_the_place_of_what_was_there(weed: Weed) -> None:
    store = a_store(weed)
    await store.put("again", b"first", attributes={})
    await store.put("again", b"second", attributes={})
    assert weed.read("a/again") == b"second"


async def test_what_is_deleted_is_gone_and_may_be_deleted_again(weed: Weed) -> None:
    store = a_store(weed)
    await store.put("gone", b"1", attributes={})
    await store.delete(["gone", "never.there"])
    assert await store.head("gone") is None
    assert await store.read("gone") is None


async def test_a_store_is_found_usable_and_only_the_marker_is_left(weed: Weed) -> None:
    findings = await probe(a_store(weed, "usable"), installation="1" * 32)
    assert [(each.step, each.problem) for each in findings] == [
        (step, None) for step in ("write", "read", "range", "delete", "owner")
    ]
    assert [*weed.objects("usable")] == [f"usable/{MARKER}"]


async def test_of_two_that_take_an_empty_store_at_once_one_has_it_and_the_other_is_told(weed: Weed) -> None:
    for number in range(10):
        stores = [a_store(weed, f"taken-{number}") for _ in range(2)]
        came = await asyncio.gather(
            *(claim(each, digit * 32) for each, digit in zip(stores, "12", strict=True)), return_exceptions=True
        )
        assert [type(each) for each in came].count(StoreError) == 1, came


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"access_key_id": READ_ONLY_KEY}, "s3:PutObject"),
        ({"access_key_id": "NOBODY"}, "access key"),
        ({"secret_access_key": "not the secret"}, "secret"),
    ],
    ids=["may not write", "unknown key", "wrong secret"],
)
async def test_wrong_credentials_are_said_by_their_name(weed: Weed, wrong: dict[str, str], said: str) -> None:
    (finding,) = await probe(a_store(weed, **wrong))
    assert finding.problem is not None
    assert said in str(finding.problem)
    assert finding.problem.is_lasting


async def test_a_bucket_that_is_not_there_is_said(weed: Weed) -> None:
    store = a_store(weed, access_key_id=READ_ONLY_KEY, url="s3://nosuchbucket")
    (finding,) = await probe(store)
    assert finding.problem is not None
    assert finding.problem.is_lasting


async def test_a_server_that_is_not_there_is_only_away(weed: Weed) -> None:
    (finding,) = await probe(a_store(weed, endpoint="http://127.0.0.1:9"))
    assert finding.problem is not None
    assert "cannot be reached" in str(finding.problem)
    assert not finding.problem.is_lasting


async def test_a_server_that_stands_still_is_given_up_in_time_and_takes_files_again(weed: Weed) -> None:
    store = a_store(weed, timeout_s=SOON)
    weed.freeze()
    try:
        with pytest.raises(StoreError, match="does not answer"):
            await store.put("still", b"1", attributes={})
    finally:
        weed.thaw()
    await store.put("again", b"2", attributes={})  # it may take the first one yet, now that it goes on
    assert weed.read("a/again") == b"2"


async def test_credentials_of_a_file_are_read_anew_when_it_changes(weed: Weed, tmp_path: Path) -> None:
    file = tmp_path / "store.json"
    file.write_text(json.dumps({"access_key_id": "OLD", "secret_access_key": SECRET}))
    store = a_store(weed, access_key_id=None, secret_access_key=None, credentials_file=file)
    with pytest.raises(StoreError, match="access key"):
        await store.put("renewed", b"1", attributes={})

    file.write_text(json.dumps({"access_key_id": "AK", "secret_access_key": SECRET}))
    await store.put("renewed", b"1", attributes={})

    file.write_text("{}")
    with pytest.raises(StoreError, match="must be JSON with access_key_id"):
        await store.put("renewed", b"2", attributes={})
    file.unlink()
    with pytest.raises(StoreError, match=r"store\.json"):
        await store.put("renewed", b"2", attributes={})


async def test_a_line_on_which_a_part_takes_longer_than_a_store_may_be_silent_takes_files(
    weed: Weed, tmp_path: Path
) -> None:
    content = np.random.default_rng(2).bytes(2_000_000)
    path = tmp_path / "slow.wav"
    path.write_bytes(content)
    async with slow_line(weed.endpoint, bytes_per_s=500_000) as endpoint:
        await a_store(weed, endpoint=endpoint, timeout_s=1).put("slow.wav", path, attributes={})
    assert weed.read("a/slow.wav") == content


@contextlib.asynccontextmanager
async def slow_line(endpoint: str, *, bytes_per_s: float) -> AsyncIterator[str]:
    """Run a proxy that lets so much through on its way there."""
    host, port = endpoint.removeprefix("http://").split(":")
    tasks = set[asyncio.Task[None]]()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_slow: bool) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError):
            while chunk := await reader.read(16_384):
                if is_slow:
                    await asyncio.sleep(len(chunk) / bytes_per_s)
                writer.write(chunk)
                await writer.drain()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(port))
        for each in (pass_on(reader, back, is_slow=True), pass_on(there, writer, is_slow=False)):
            tasks.add(asyncio.create_task(each))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=65_536)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_why_a_question_is_refused_whose_answer_has_no_words_is_asked_for(weed: Weed) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refuses) as server:
        serving = asyncio.create_task(asyncio.to_thread(server.serve_forever, 0.01))
        store = a_store(weed, endpoint=f"http://127.0.0.1:{server.server_port}")
        try:
            for asked in (store.head("k"), asyncio.to_thread(store.open, "k")):
                with pytest.raises(StoreError, match="clock of this machine"):
                    await asked
        finally:
            await asyncio.to_thread(server.shutdown)
            await serving


class _Refuses(BaseHTTPRequestHandler):
    """A store for which the clock of whoever asks is wrong."""

    def do_GET(self) -> None:
        words = b"<Error><Code>RequestTimeTooSkewed</Code></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(words)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(words)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""
