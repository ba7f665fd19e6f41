"""Whatever is sent to whatever address of Bird's API: an answer in one of Bird's shapes, and never a 500."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import httpx
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.unit.api.bird.conftest import CALL, CHANNEL, WORKSPACE, Bird, announce
from wavstream.model.ids import as_uuid
from wavstream.model.recording import Status

Request = Callable[..., httpx.Response]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
FIELDS = (
    "maxLength", "stereo", "endKey", "timeout", "beep", "transcribe", "transcribeLocale", "status", "locale",
    "messageId", "conversationId", "recordingId",
)  # fmt: skip
VALUES = JSON | st.sampled_from(["#", "en-US", "paused", "ongoing", "completed", 5, True])
NEARLY = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=5)
BODY = (JSON | NEARLY).map(lambda said: json.dumps(said).encode()) | st.binary(max_size=200)
QUERY = st.dictionaries(
    st.sampled_from(
        ("limit", "pageToken", "sourceId", "channelId", "id", "direction", "startAt", "endAt", "from", "to", "x")
    ),
    st.text() | st.integers().map(str) | st.datetimes().map(lambda moment: f"{moment.isoformat()}Z")
    | st.sampled_from(["MTc5MzUyNzE0MDAwMDAwMDphYmM", "incoming", CALL]),
    max_size=4,
)  # fmt: skip
ANY_ID = st.text(max_size=40).map(lambda text: quote(text, safe=""))
CONTENT_TYPE = st.sampled_from(["application/json"] * 6 + ["text/plain", "multipart/form-data", "", "a/b;c=\xff"])
ADDRESSES = {
    "/workspaces/{w}/channels/{c}/calls/{k}/recordings": ("POST", "GET"),
    "/workspaces/{w}/channels/{c}/calls/{k}/record": ("POST",),
    "/workspaces/{w}/channels/{c}/calls/{k}/recordings/{r}": ("GET", "PATCH"),
    "/workspaces/{w}/recordings": ("GET",),
    "/workspaces/{w}/recordings/{r}": ("GET", "DELETE"),
    "/workspaces/{w}/recordings/{r}.mp3": ("GET", "HEAD"),
    "/workspaces/{w}/recordings/{r}.wav": ("GET", "HEAD"),
    "/workspaces/{w}/recording-metrics": ("GET",),
    "/workspaces/{w}/recordings/{r}/transcriptions": ("POST",),
    "/workspaces/{w}/transcriptions": ("GET",),
    "/workspaces/{w}/transcriptions/{r}": ("GET",),
    "/workspaces/{w}/transcriptions/{r}.srt": ("GET",),
    "/workspaces/{w}/{r}": (),
}
METHODS = ("GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS")


def mostly(*right: str) -> st.SearchStrategy[str]:
    """One of these texts, and now and then any other."""
    return st.tuples(st.integers(0, 4), st.sampled_from(right), ANY_ID).map(
        lambda drawn: drawn[1] if drawn[0] else drawn[2]
    )


async def test_whatever_is_sent_is_never_a_500_and_has_one_of_birds_shapes(bird: Bird, shop: httpx.AsyncClient) -> None:
    async def check_errors(answer: httpx.Response) -> None:
        if answer.status_code >= 400:
            await checked(answer)

    (checked,) = shop.event_hooks["response"]
    shop.event_hooks = {"response": [check_errors]}  # ids are UUIDs here only by chance, so no other form is promised
    await announce(shop)
    recording_ids = [as_uuid((await bird.put(status)).id) for status in (*Status, *[Status.AVAILABLE] * 8)]
    loop = asyncio.get_running_loop()

    def request(method: str, url: str, **more: Any) -> httpx.Response:
        return asyncio.run_coroutine_threadsafe(shop.request(method, url, **more), loop).result(60)

    seen = set()
    for address, methods in ADDRESSES.items():
        seen |= await asyncio.to_thread(send_anything, request, address, methods, recording_ids)
    assert {200, 202, 204, 400, 404, 405, 422} <= seen
    # It still works.
    started = await shop.post(f"/workspaces/{WORKSPACE}/channels/{CHANNEL}/calls/{CALL}/recordings")
    assert started.status_code == 202


def send_anything(request: Request, address: str, methods: tuple[str, ...], recording_ids: list[str]) -> set[int]:
    """Send requests to an address, most of them by a method that it takes; the statuses that were answered."""
    seen: set[int] = set()

    @given(
        method=st.sampled_from(methods * 6 + METHODS),
        w=mostly(WORKSPACE),
        c=mostly(CHANNEL),
        k=mostly(CALL),
        r=mostly(*recording_ids),
        query=QUERY,
        body=BODY,
        content_type=CONTENT_TYPE,
    )
    @example(
        method="POST", w=WORKSPACE, c=CHANNEL, k=CALL, r=recording_ids[0], query={},
        body=b'{"\\ud800": "\\udfff", "locale": "\\ud800"}', content_type="application/json",
    )  # fmt: skip
    @settings(max_examples=20, database=None, suppress_health_check=list(HealthCheck))
    def send(
        method: str, w: str, c: str, k: str, r: str, query: dict[str, str], body: bytes, content_type: str
    ) -> None:
        path = address.format(w=w, c=c, k=k, r=r)
        answer = request(
            method,
            f"{path}?{urlencode(query)}" if query else path,
            content=body if method in ("POST", "PATCH", "PUT") else None,
            headers={"Content-Type": content_type.encode("latin-1")} if content_type else {},
        )
        seen.add(answer.status_code)
        assert answer.status_code < 500, (method, path, query, body, answer.text)

    for method in methods:  # what is right is among them
        right = {"w": WORKSPACE, "c": CHANNEL, "k": CALL, "r": recording_ids[-1], "query": {}}
        body = b'{"status": "ongoing"}' if method == "PATCH" else b""
        send = example(method=method, body=body, content_type="application/json", **right)(send)
    send()
    return seen
