"""Whatever is sent to Telnyx's API, the answer is one of its own that its document names, and never 500."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from tests.support.examples import examples
from tests.unit.api.telnyx.conftest import CALL, START, Calls, Telnyx, recording
from wavstream.api.facade_documents import facade_openapi
from wavstream.api.telnyx.mount import create
from wavstream.api.telnyx.requests import ListDeliveries, ListRecordings, RecordAction, RecordStart
from wavstream.model.ids import as_uuid
from wavstream.model.recording import Status

KNOWN = "0d6c8d5f6f0b4b0a9c2f5b0a7c1e9d42"
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-2, 20_000),
    st.floats(),
    st.text(st.characters(codec=None, categories=None), max_size=300),
    st.sampled_from([*START.values(), "mp3", "single", "both", "inbound", "trim-silence", "A", "en-US", "YQ==", "pci"]),
    st.sampled_from([KNOWN, as_uuid(KNOWN)]),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
FIELDS = [*RecordStart.model_fields, *RecordAction.model_fields, "ids", "recordings"]
BODIES = st.one_of(
    VALUES,
    st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), VALUES, max_size=8),
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=3).map(lambda said: {**START, **said}),
)
ANY_TEXT = st.text(max_size=40) | st.sampled_from([CALL, KNOWN, "", "..", "\x00", "a\nb"])
PARAMETERS = [
    field.alias for query in (ListRecordings, ListDeliveries) for field in query.model_fields.values() if field.alias
]
QUERIES = st.dictionaries(
    st.sampled_from(PARAMETERS) | st.text(max_size=12),
    st.text(max_size=40)
    | st.integers().map(str)
    | st.datetimes(timezones=st.timezones()).map(lambda at: at.isoformat()),
    max_size=4,
)
ACTIONS = ("record_start", "record_stop", "record_pause", "record_resume")
ADDRESSES = st.one_of(
    st.builds(
        lambda call, action: f"/v2/calls/{quote(call, safe='')}/actions/{action}", ANY_TEXT, st.sampled_from(ACTIONS)
    ),
    st.builds(lambda text: f"/v2/recordings/{quote(text, safe='')}", ANY_TEXT),
    st.builds(lambda text: f"/v2/{quote(text)}", ANY_TEXT),
    st.sampled_from(
        [
            "/v2/recordings",
            "/v2/recordings/actions/delete",
            "/v2/recording_transcriptions",
            "/v2/webhook_deliveries",
            "/v2/public_key",
        ]
    ),
)
STATUSES = {200, 400, 404, 405, 413, 422}


@examples(60, suppress_health_check=list(HealthCheck))
@given(
    method=st.sampled_from(["POST", "POST", "GET", "DELETE", "PUT"]),
    address=ADDRESSES,
    query=QUERIES,
    body=BODIES.map(lambda said: json.dumps(said).encode()) | st.binary(max_size=40),
    again=st.sampled_from(["0", "1", "x"]),
)
async def test_whatever_is_sent_is_answered_in_the_vendors_shape_and_never_with_500(
    world: Telnyx, method: str, address: str, query: dict[str, str], body: bytes, again: str
) -> None:
    assume(httpx.URL(f"http://rec{address}").path.startswith("/v2/"))  # a client resolves dots itself
    headers = {"Content-Type": "application/json", "x-stainless-retry-count": again}

    answer = await world.client().request(method, address, params=query, content=body, headers=headers)

    assert answer.status_code in STATUSES, answer.text
    assert ("errors" in answer.json()) == (answer.status_code != 200)


@pytest.fixture
async def world(telnyx: Telnyx) -> Telnyx:
    """Return a server with a call that is announced, and a recording of it that is over."""
    await telnyx.client().announce()
    await telnyx.put(id=KNOWN)
    return telnyx


CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


async def test_whatever_is_made_of_its_document_is_answered_as_the_document_says(calls: Calls) -> None:
    calls.commands.begin_call(CALL)
    for status in (Status.AVAILABLE, Status.ONGOING):
        calls.commands.put(recording(status, app_id="one"))

    assert await asyncio.to_thread(call_all, calls) == 18  # it calls from loops of its own


def call_all(calls: Calls) -> int:
    """Return how many operations were called, in how many ways."""
    facade = create(calls.parts)
    document = facade_openapi(facade)

    async def show(_request: Request) -> Response:
        return JSONResponse(document)

    app = Starlette(routes=[Route("/openapi.json", show), Mount("/", facade)])
    seen = 0
    for found in schemathesis.openapi.from_asgi("/openapi.json", app).get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        for mode in GenerationMode:
            if mode.is_negative and not operation.body:
                continue  # Any path is an id that may be unknown.

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=6,
                derandomize=True,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            def call(case: Case[Any]) -> None:
                case.call_and_validate(headers={"Authorization": "Bearer key-one"}, checks=CHECKS)

            call()
            seen += 1
    return seen


async def test_every_request_and_answer_of_its_document_has_an_example(calls: Calls) -> None:
    document = facade_openapi(create(calls.parts))
    shown = []
    for path in document["paths"].values():
        for operation in path.values():
            shown += [
                operation["responses"]["200"],
                *([operation["requestBody"]] if "requestBody" in operation else []),
            ]

    assert len(shown) == 18
    for each in shown:
        schema = each["content"]["application/json"]["schema"]
        names = [part["$ref"] for part in (schema, *schema.get("anyOf", ())) if "$ref" in part]
        for name in names:
            assert document["components"]["schemas"][name.rpartition("/")[2]]["examples"]
