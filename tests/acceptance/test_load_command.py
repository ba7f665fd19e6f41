"""A load whose calls follow each other, one through a proxy, and what is left of it on the server: nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.certificates import make_certificate
from tests.support.recorder import Recorder, recorder
from tests.support.tls_proxy import tls_proxy
from wavstream.errors import Unauthenticated
from wavstream.simulator.load import run_load
from wavstream.simulator.load_plan import LoadRequest

KEY = "wsk_of_the_load_of_this_test"


async def left(client: Recorder) -> list[str]:
    answer = await client.http.get("/v1/recordings")
    return [recording["session_id"] for recording in answer.json()["data"]]


@pytest.mark.parametrize("keep", [False, True], ids=["removed", "kept"])
async def test_calls_that_follow_each_other_are_recorded_whole_and_are_removed_unless_they_are_kept(
    tmp_path: Path, keep: bool
) -> None:
    async with recorder(tmp_path) as (client, _):
        request = LoadRequest(
            url=client.base_url, legs=4, duration_s=4.0, call_s=1.5, ramp_s=0.5, processes=2, verify=True, keep=keep
        )
        result = await asyncio.to_thread(run_load, request)
        kept = await left(client)

    assert (result.is_good, result.complaints) == (True, [])
    assert result.calls == result.verified_files == 5
    assert len(result.stop_ms) == 2
    assert len(kept) == (5 if keep else 0)


async def test_a_load_goes_through_a_proxy_with_tls_a_path_and_no_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = await asyncio.to_thread(make_certificate, tmp_path, addresses=("127.0.0.1",))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    settings: dict[str, Any] = {"api_key": KEY, "public_url": "https://rec.example.com/rec"}
    async with recorder(tmp_path / "data", **settings) as (_, service):
        port = service.settings.port
        async with tls_proxy(certificate, port, path="/rec") as proxy:
            url = f"wss://{urlsplit(proxy).netloc}/rec"
            request = LoadRequest(url=url, legs=4, duration_s=2.0, verify=True, key=KEY)
            result = await asyncio.to_thread(run_load, request)
            wrong_key = LoadRequest(url=url, legs=2, duration_s=1.0, key="wrong")
            with pytest.raises(Unauthenticated, match=r"refused a stream: HTTP/1.1 401 .*: .*key"):
                await asyncio.to_thread(run_load, wrong_key)

    assert (result.complaints, result.is_good, result.verified_files) == ([], True, 2)
    assert not result.is_measured
