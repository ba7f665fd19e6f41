"""Whatever is sent to Telnyx's API, the answer is one of its own, and never 500."""

from __future__ import annotations

import json
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.unit.api.telnyx.conftest import CALL, START, Telnyx
from wavstream.api.telnyx.requests import ListDeliveries, ListRecordings, RecordAction, RecordStart
from wavstream.model.ids import as_uuid

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


@settings(max_examples=400, suppress_health_check=list(HealthCheck))
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
