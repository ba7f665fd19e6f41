from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from tests.unit.api.conftest import BASE, ApiHarness
from tests.unit.api.fakes import START
from wavstream.api.schemas import RECORDING_EXAMPLE
from wavstream.errors import Conflict, DependencyError, LimitReached
from wavstream.model.document import RecordingDocument
from wavstream.model.filters import RecordingFilters
from wavstream.model.recording import Recording, Status


async def test_a_start_answers_201_with_the_recording(world: ApiHarness, client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/recordings", json={"session_id": "call-77"})
    body = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/recordings/{body['id']}"
    assert (body["session_id"], body["app_id"], body["status"]) == ("call-77", "one", "ongoing")
    assert body["created_at"] == "2026-11-01T10:00:00.000000Z"
    assert (body["duration_ms"], body["audio_sha256"], body["ended_at"], body["legs"]) == (None, None, None, [])


async def test_text_that_is_no_unicode_is_refused_where_it_stands(client: httpx.AsyncClient) -> None:
    pairs = (b'{"k": "\\ud800"}', b'{"\\udc00": "v"}')
    for body in (rb'{"session_id": "a\ud800"}', *(b'{"session_id": "a", "metadata": ' + pair + b"}" for pair in pairs)):
        response = await client.post("/v1/recordings", content=body, headers={"Content-Type": "application/json"})
        assert response.status_code == 422, response.text
        (error,) = response.json()["errors"]
        if b"metadata" in body:
            assert error["pointer"].startswith("/metadata")
            assert error["detail"].startswith("must be Unicode text")


@pytest.mark.parametrize(
    ("content", "status", "detail"),
    [
        (b"{", 400, "The body is not JSON: Expecting property name enclosed in double quotes, at character 1."),
        (b'{"session_id": "\xff"}', 400, "The body is not UTF-8."),
        (b'{"sample_rate": ' + b"9" * 5_000 + b"}", 400, "A number in the body has too many digits."),
        (b"[" * 9_000, 400, "The body is nested too deeply."),
        (b"[]", 422, "body: must be a JSON object, sent with Content-Type: application/json"),
        (b"null", 422, "body: "),
        (b"", 422, "body: is missing"),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(
    client: httpx.AsyncClient, content: bytes, status: int, detail: str
) -> None:
    response = await client.post("/v1/recordings", content=content, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert response.json()["detail"].startswith(detail)


async def test_a_body_without_its_type_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/recordings", content=b'{"session_id": "x"}')
    assert response.status_code == 422
    assert "Content-Type: application/json" in response.json()["detail"]


async def test_a_key_used_before_gives_the_first_answer_again(world: ApiHarness, client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "once"}
    first = await client.post(
        "/v1/recordings", json={"session_id": "s", "metadata": {"a": "", "b": ""}}, headers=headers
    )
    again = await client.post(
        "/v1/recordings",
        content='{"metadata":{"b":"" , "a":""},"session_id":"\\u0073"}',
        headers=headers | {"Content-Type": "application/json"},
    )
    assert (again.status_code, again.json()) == (201, first.json())
    assert len(world.commands.recordings) == 1


async def test_a_key_used_before_for_another_request_is_refused(world: ApiHarness, client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "once"}
    await client.post("/v1/recordings", json={"session_id": "s"}, headers=headers)
    other = await client.post("/v1/recordings", json={"session_id": "s", "channels": "mono"}, headers=headers)
    assert other.status_code == 422
    assert other.json()["errors"][0]["pointer"] == "Idempotency-Key"
    assert len(world.commands.recordings) == 1


async def test_a_recording_is_paused_resumed_and_stopped(client: httpx.AsyncClient, running: Recording) -> None:
    path = f"/v1/recordings/{running.id}"
    seen = [(await client.post(f"{path}/{verb}")).json()["status"] for verb in ("pause", "resume", "stop")]
    assert seen == ["paused", "ongoing", "available"]
    assert (await client.get(path)).json()["end_reason"] == "stopped"


@pytest.mark.parametrize(
    ("before", "verb"),
    [(Status.PAUSED, "pause"), (Status.ONGOING, "resume"), (Status.AVAILABLE, "stop"), (Status.ABSENT, "stop")],
)
async def test_a_command_that_does_not_fit_the_state_answers_409_with_the_state(
    world: ApiHarness, client: httpx.AsyncClient, running: Recording, before: Status, verb: str
) -> None:
    world.commands.put(replace(running, status=before))
    response = await client.post(f"/v1/recordings/{running.id}/{verb}")
    assert (response.status_code, response.headers["content-type"]) == (409, "application/problem+json")
    assert response.json()["state"] == before
    assert world.commands.recordings[running.id].status is before


async def test_a_finished_recording_reads_as_the_contract_has_it(
    client: httpx.AsyncClient, finished: Recording, audio: bytes
) -> None:
    body = (await client.get(f"/v1/recordings/{finished.id}")).json()
    RecordingDocument.model_validate(body)
    assert list(body) == list(RECORDING_EXAMPLE)
    assert list(body["integrity"]) == list(RECORDING_EXAMPLE["integrity"])
    assert body["legs"] == RECORDING_EXAMPLE["legs"]
    assert body["integrity"] == RECORDING_EXAMPLE["integrity"]
    assert (body["duration_ms"], body["size_bytes"], body["sample_rate"]) == (61_240, len(audio), 8_000)
    assert body["expires_at"] == "2026-11-02T10:00:00.000000Z"


async def test_the_url_is_absolute_stable_and_opens_the_file_without_a_key(
    world: ApiHarness, client: httpx.AsyncClient, running: Recording, audio: bytes
) -> None:
    url = (await client.get(f"/v1/recordings/{running.id}")).json()["url"]
    world.commands.finish(running, audio)
    assert (await client.get(f"/v1/recordings/{running.id}")).json()["url"] == url
    assert url.startswith(f"{BASE}/files/{running.id}/")
    async with world.client(None) as anyone:
        assert (await anyone.get(url)).content == audio


async def test_single_tracks_are_shown_as_the_mono_files_they_make(client: httpx.AsyncClient) -> None:
    body = (await client.post("/v1/recordings", json={"session_id": "s", "track": "inbound"})).json()
    assert body["channels"] == "mono"


async def test_a_recording_reads_as_expired_from_the_second_on(
    world: ApiHarness, client: httpx.AsyncClient, finished: Recording
) -> None:
    path = f"/v1/recordings/{finished.id}"
    world.clock.move(hours=24, microseconds=-1)
    assert (await client.get(path)).json()["status"] == "available"
    world.clock.move(microseconds=1)
    assert (await client.get(path)).json()["status"] == "expired"
    assert (await client.get("/v1/recordings")).json()["data"][0]["status"] == "expired"
    assert world.commands.recordings[finished.id].status is Status.AVAILABLE  # No sweep has come by.


async def test_a_recording_is_erased_with_its_file(
    world: ApiHarness, client: httpx.AsyncClient, finished: Recording
) -> None:
    response = await client.delete(f"/v1/recordings/{finished.id}")
    assert (response.status_code, response.content) == (204, b"")
    assert not world.commands.storage.path(finished.object_key).exists()


async def test_a_recording_that_runs_is_not_erased(client: httpx.AsyncClient, running: Recording) -> None:
    response = await client.delete(f"/v1/recordings/{running.id}")
    assert (response.status_code, response.json()["state"]) == (409, "ongoing")


async def test_a_list_asks_for_what_the_query_says(world: ApiHarness, client: httpx.AsyncClient) -> None:
    query = {
        "session_id": "call/77",
        "status": "available",
        "from": "+15550100",
        "to": "sip:a@b",
        "since": "2026-11-01T11:00:00+01:00",
        "until": "2026-11-02T10:00:00Z",
        "limit": "7",
        "cursor": "abc",
    }
    response = await client.get("/v1/recordings", params=query)
    assert response.json() == {"data": [], "next_cursor": None}
    (asked,) = world.commands.asked
    assert asked == {
        "app_id": "one",
        "filters": RecordingFilters(
            session_id="call/77",
            statuses=frozenset({Status.AVAILABLE}),
            from_="+15550100",
            to="sip:a@b",
            created_from=START,
            created_until=START.replace(day=2),
        ),
        "limit": 7,
        "cursor": "abc",
    }


async def test_a_list_is_cut_by_the_servers_limit_and_says_how_to_read_on(
    world: ApiHarness, client: httpx.AsyncClient, finished: Recording
) -> None:
    await client.post("/v1/recordings", json={"session_id": "later"})
    page = (await client.get("/v1/recordings?limit=1")).json()
    assert ([row["session_id"] for row in page["data"]], page["next_cursor"]) == (["later"], "more")
    await client.get("/v1/recordings?limit=1000")
    assert world.commands.asked[-1]["limit"] == 200


async def test_a_list_with_wrong_parameters_names_them_all(client: httpx.AsyncClient) -> None:
    query = "limit=0&status=broken&since=2026-11-01T10:00:00&until=yesterday&sesion_id=x"
    response = await client.get(f"/v1/recordings?{query}")
    assert response.status_code == 422
    assert {error["pointer"] for error in response.json()["errors"]} == {
        "limit",
        "status",
        "since",
        "until",
        "sesion_id",
    }


async def test_a_cursor_that_is_not_ours_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/recordings?cursor=bad")
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "cursor")


@pytest.mark.parametrize(
    ("method", "suffix"),
    [("GET", ""), ("DELETE", ""), ("GET", ".wav"), ("GET", ".mp3")]
    + [("POST", f"/{verb}") for verb in ("stop", "pause", "resume")],
)
async def test_another_apps_recording_is_as_unknown_as_one_that_never_was(
    world: ApiHarness, finished: Recording, method: str, suffix: str
) -> None:
    async with world.client("key-two") as stranger:
        others = await stranger.request(method, f"/v1/recordings/{finished.id}{suffix}")
        unknown = await stranger.request(method, f"/v1/recordings/{'f' * 32}{suffix}")
    assert others.status_code == unknown.status_code == 404
    assert others.content == unknown.content
    assert world.commands.recordings[finished.id] == finished


async def test_another_apps_recordings_are_in_no_list(world: ApiHarness, finished: Recording) -> None:
    async with world.client("key-two") as stranger:
        assert (await stranger.get("/v1/recordings")).json()["data"] == []


@pytest.mark.parametrize(
    ("failure", "status", "retry_after"),
    [
        (LimitReached("The disk is nearly full.", retry_after_s=60), 503, "60"),
        (DependencyError("catalog: secret details"), 503, "5"),
        (Conflict("It is somewhere else.", state="ongoing"), 409, None),
        (RuntimeError("secret details"), 500, None),
    ],
)
async def test_a_failure_of_a_start_is_a_problem_that_says_whether_to_try_again(
    world: ApiHarness, client: httpx.AsyncClient, failure: Exception, status: int, retry_after: str | None
) -> None:
    world.commands.failure = failure
    response = await client.post("/v1/recordings", json={"session_id": "s"})
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert response.headers.get("retry-after") == retry_after
    assert "secret" not in response.text
