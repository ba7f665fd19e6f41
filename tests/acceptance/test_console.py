"""What the console asks of a server: who may look, what is live, what was recorded, and how it looks and sounds."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import SecretStr
from rich.console import Console

from tests.support.events import events
from tests.support.postgres import on_both
from tests.support.recorder import Recorder, Wall, hear, recorder
from tests.support.speech import noise
from tests.support.talking import RATE_HZ, say
from tests.support.waiting import until
from wavstream.cli.apps import add_app, revoke_key
from wavstream.rendering.waveform import Waveform
from wavstream.settings import Limits, Settings
from wavstream.settings.quotas import QuotaSettings

KEY = "key-of-the-app-default"
OURS = {"X-Wavstream-Console": "1"}
SILENCE = np.zeros(RATE_HZ, np.int16)
NASTY = "<script>alert(1)</script>\u202eevil\u0007\u2028" + "x" * 4_000


@asynccontextmanager
async def page(base_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a browser without a key, as far as cookies go."""
    async with httpx.AsyncClient(base_url=base_url, timeout=30, verify=False) as client:
        yield client


async def sign_in(client: httpx.AsyncClient, key: str = KEY) -> httpx.Response:
    return await client.post("/console/sign-in", json={"key": key}, headers=OURS)


async def recorded(
    client: Recorder, *sounds: np.ndarray, session_id: str = "call-77", key: str = "", **options: object
) -> dict[str, Any]:
    """Record a call that is sent at once, to its end."""
    recording = await client.start(session_id, **options)
    async with client.connect(
        f"/media/pcm/{session_id}/a?token={key}" if key else f"/media/pcm/{session_id}/a"
    ) as socket:
        await say(socket, *sounds)
    return await client.until(recording, "available", "absent")


# ---- who may look ----------------------------------------------------------------------------------------------------


async def test_a_key_becomes_a_cookie_that_no_script_and_no_other_page_can_use(tmp_path: Path) -> None:
    async with recorder(tmp_path, api_key=SecretStr(KEY)) as (client, _), page(client.base_url) as browser:
        nobody = (await browser.get("/console/session")).json()
        assert (nobody["signed_in"], nobody["needs_key"], nobody["app_id"]) == (False, True, None)
        assert (await browser.get("/v1/recordings")).status_code == 401

        answer = await sign_in(browser)
        cookie = answer.headers["set-cookie"]
        assert answer.status_code == 200
        assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age=28800"))
        assert "Secure" not in cookie
        assert KEY not in cookie
        somebody = (await browser.get("/console/session")).json()
        assert (somebody["signed_in"], somebody["app_id"], somebody["key_name"]) == (True, "default", "main")
        assert (await browser.get("/v1/recordings")).status_code == 200

        started = await browser.post("/v1/recordings", json={"session_id": "call-77"})
        assert started.status_code == 403  # a page of a stranger could have asked so
        foreign = {**OURS, "Origin": "http://127.0.0.1:1"}
        assert (await browser.post("/v1/recordings", json={"session_id": "a"}, headers=foreign)).status_code == 403
        cross = {**OURS, "Sec-Fetch-Site": "same-site"}
        assert (await browser.post("/v1/recordings", json={"session_id": "a"}, headers=cross)).status_code == 403
        assert (await browser.get("/v1/recordings", headers={"Sec-Fetch-Site": "cross-site"})).status_code == 401
        own = {**OURS, "Origin": client.base_url, "Sec-Fetch-Site": "same-origin"}
        assert (await browser.post("/v1/recordings", json={"session_id": "a"}, headers=own)).status_code == 201

        kept = dict(browser.cookies)
        assert (await browser.post("/console/sign-out")).status_code == 403
        assert (await browser.post("/console/sign-out", headers=OURS)).status_code == 204
        assert not dict(browser.cookies)
        assert (await browser.get("/v1/recordings")).status_code == 401
        forged = {name: value[:-2] + ("AA" if value[-2:] != "AA" else "BB") for name, value in kept.items()}
        cookie_header = "; ".join(f"{name}={value}" for name, value in forged.items())
        assert (await browser.get("/v1/recordings", headers={"Cookie": cookie_header})).status_code == 401


async def test_a_wrong_key_signs_nobody_in_and_a_proxy_with_tls_makes_the_cookie_secure(tmp_path: Path) -> None:
    async with (
        recorder(tmp_path, api_key=SecretStr(KEY), public_url="https://rec.example.com") as (_, service),
        page(f"http://127.0.0.1:{service.settings.port}") as browser,
    ):
        assert (await sign_in(browser, "no-key-of-anybody")).status_code == 401
        assert (await browser.post("/console/sign-in", json={}, headers=OURS)).status_code == 422
        assert (await browser.post("/console/sign-in", json={"key": KEY})).status_code == 403
        answer = await browser.post(
            "/console/sign-in", json={"key": KEY}, headers={**OURS, "Origin": "https://rec.example.com"}
        )
        assert (answer.status_code, "Secure" in answer.headers["set-cookie"]) == (200, True)


async def test_a_cookie_ends_with_its_key_and_after_eight_hours_and_opens_one_app_alone(tmp_path: Path) -> None:
    wall, settings = Wall(), Settings(data_dir=tmp_path)
    out = Console(record=True, width=500)
    async with recorder(tmp_path, wall=wall, api_key=SecretStr(KEY)) as (client, _):
        mine = Recorder(client.base_url, key=KEY)
        recording = await recorded(mine, noise(0.5), key=KEY)
        await asyncio.to_thread(asyncio.run, add_app("shop", None, (), settings, out))
        shop_key = out.export_text().split()[-1]
        async with page(client.base_url) as browser, page(client.base_url) as other:
            await sign_in(browser)
            assert (await sign_in(other, shop_key)).status_code == 200
            assert [each["id"] for each in (await browser.get("/v1/recordings")).json()["data"]] == [recording["id"]]
            assert (await other.get("/v1/recordings")).json()["data"] == []
            for what in ("", "/waveform", "/regions", "/audio.wav"):
                assert (await other.get(f"/v1/recordings/{recording['id']}{what}")).status_code == 404
            await mine.http.post("/v1/sessions", json={"session_id": "secret-call"})
            async with events(other) as seen:
                await seen.until(lambda told: told.is_whole)
                assert seen.sessions == {}
                await asyncio.to_thread(asyncio.run, revoke_key("shop", "main", settings, out))
                await seen.until(lambda told: told.has_ended)

            async def is_refused() -> bool:
                return (await other.get("/v1/recordings")).status_code == 401

            await until(is_refused)
            assert (await browser.get("/v1/recordings")).status_code == 200
            wall.ahead = timedelta(hours=8, seconds=1)
            assert (await browser.get("/v1/recordings")).status_code == 401
        await mine.http.aclose()


async def test_on_loopback_without_an_app_nobody_has_to_sign_in(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), page(client.base_url) as browser:
        session = (await browser.get("/console/session")).json()
        assert (session["signed_in"], session["needs_key"], session["app_id"]) == (True, False, "default")
        answer = await browser.post("/console/sign-in", json={"key": "whatever"}, headers=OURS)
        assert (answer.status_code, "set-cookie" in answer.headers) == (200, False)


async def test_a_console_that_is_off_is_not_there_and_its_cookie_counts_for_nothing(tmp_path: Path) -> None:
    async with recorder(tmp_path, api_key=SecretStr(KEY)) as (client, _), page(client.base_url) as browser:
        await sign_in(browser)
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    async with (
        recorder(tmp_path, api_key=SecretStr(KEY), console=False) as (client, _),
        page(client.base_url) as browser,
    ):
        for path in ("/", "/console", "/console/", "/console/session", "/console/index.html"):
            answer = await browser.get(path)
            assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json"), path
        assert (await browser.get("/v1/recordings", headers={"Cookie": cookie})).status_code == 401


async def test_the_page_runs_no_script_but_its_own_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), page(client.base_url) as browser:
        begin = await browser.get("/")
        assert (begin.status_code, begin.headers["location"]) == (307, "console/")
        policies = []
        for path in ("/console/", "/docs"):
            answer = await browser.get(path)
            policy = answer.headers["content-security-policy"]
            assert answer.status_code == 200
            assert "unsafe" not in policy
            assert "default-src 'none'" in policy
            assert not re.search(r"https?://", policy)
            policies.append(policy)
        again = await browser.get("/console/")
        nonce = re.search(r"'nonce-([\w-]+)'", again.headers["content-security-policy"])
        assert nonce is not None
        assert again.headers["content-security-policy"] != policies[0]
        assert nonce[1] in again.text
        assert "__CSP_NONCE__" not in again.text
        assert again.headers["cache-control"] == "no-store"
        for path in (
            "/console/nothing.js",
            "/console/..%2fapi%2fapp.py",
            "/console/index.html",
            "/console/assets/x.js",
        ):
            answer = await browser.get(path)
            assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json"), path


# ---- what is live ----------------------------------------------------------------------------------------------------


async def test_every_leg_has_a_meter_and_where_it_is_silent_a_reason(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), events(client.http) as seen:
        await seen.until(lambda told: told.is_whole)
        assert seen.names()[0] == "reset"
        async with client.connect("/media/pcm/call-77/a") as socket:
            sending = asyncio.create_task(_in_real_time(socket, noise(60.0)))
            await seen.until(lambda told: told.codes("call-77") == ["not_recorded"])
            recording = await client.start("call-77")
            await seen.until(lambda told: told.codes("call-77") == [None])
            session = seen.sessions["call-77"]
            assert [each["id"] for each in session["recordings"]] == [recording["id"]]
            (track,) = session["legs"][0]["tracks"]
            await seen.until(lambda told: (told.meters.get(track["meter"]) or [0, None])[1] is not None)
            meter, rms, peak, *_, last_word = seen.meters[track["meter"]]
            assert (meter, -30 < rms < 0, rms <= peak <= 0, last_word is not None) == (track["meter"], True, True, True)
            await client.act(recording, "pause")
            await seen.until(lambda told: told.codes("call-77") == ["paused"])
            await client.act(recording, "resume")
            await seen.until(lambda told: told.codes("call-77") == [None])
            sending.cancel()
            await seen.until(lambda told: told.codes("call-77") == ["frames_stopped"])
            sending = asyncio.create_task(_in_real_time(socket, np.zeros(60 * RATE_HZ, np.int16)))
            await seen.until(lambda told: told.codes("call-77") == ["frames_of_silence"])
            docs = seen.sessions["call-77"]["legs"][0]["silent_because"]["docs"]
            page_name, _, heading = docs.partition("#")
            text = (Path("docs") / page_name).read_text()
            assert heading in {
                re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-") for line in text.splitlines()
            }
            sending.cancel()
            socket.transport.abort()
            await seen.until(lambda told: told.codes("call-77") == ["away"])
        await client.act(recording, "stop")


async def _in_real_time(socket: Any, samples: np.ndarray) -> None:
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    for at in range(0, len(samples), 160):
        await asyncio.sleep(max(0.0, start_s + at / RATE_HZ - loop.time()))
        await socket.send(samples[at : at + 160].tobytes())


async def test_a_page_that_connects_again_goes_on_and_after_a_restart_begins_anew(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        async with events(client.http) as seen:
            await client.http.post("/v1/sessions", json={"session_id": "call-1"})
            await seen.until(lambda told: "call-1" in told.sessions)
            last_id = seen.last_id
        await client.http.post("/v1/sessions", json={"session_id": "call-2"})
        async with events(client.http, last_id=last_id) as again:
            await again.until(lambda told: "call-2" in told.sessions)
            assert "reset" not in again.names()
            assert "call-1" not in again.sessions
        async with events(client.http, last_id="nonsense.1-2") as anew:
            await anew.until(lambda told: told.is_whole)
            assert {*anew.sessions} == {"call-1", "call-2"}
    async with recorder(tmp_path) as (client, _), events(client.http, last_id=last_id) as after:
        await after.until(lambda told: told.is_whole)
        assert after.names()[0] == "reset"


async def test_pages_end_when_the_server_does_and_there_are_no_more_than_may_be(tmp_path: Path) -> None:
    limits, quotas = Limits(live_pages=2), QuotaSettings(live_pages=1)
    async with (
        recorder(tmp_path, limits=limits) as (client, service),
        events(client.http) as one,
        events(client.http) as two,
    ):
        answer = await client.http.get("/v1/live")
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        assert service.pages.pages == 2
        service.begin_shutdown()
        await one.until(lambda told: told.has_ended)
        await two.until(lambda told: told.has_ended)
    async with recorder(tmp_path, quotas=quotas) as (client, service):
        async with events(client.http):
            answer = await client.http.get("/v1/live")
            assert (answer.status_code, "quotas.live_pages is 1" in answer.json()["detail"]) == (429, True)

        async def is_free() -> bool:
            return service.pages.pages == 0

        await until(is_free)


# ---- how it looks, and sounds ----------------------------------------------------------------------------------------


def of_file(samples: np.ndarray, rate_hz: int) -> tuple[list[int], list[int]]:
    """Return data and root mean squares of a finished file's waveform, worked out anew."""
    waveform = Waveform()
    waveform.open(rate_hz, samples.shape[1])
    waveform.take(samples)
    ending = waveform.ending(len(samples))
    assert ending is not None
    points = np.frombuffer(waveform.collect() + ending.rest, np.uint8).reshape(-1, samples.shape[1], 3)
    return points[:, :, :2].view(np.int8).ravel().tolist(), points[:, :, 2].ravel().tolist()


@pytest.mark.parametrize("options", [{}, {"trim": "silence"}, {"channels": "mono", "beep": True}], ids=str)
async def test_the_waveform_of_a_recording_is_that_of_its_file(tmp_path: Path, options: dict[str, Any]) -> None:
    async with recorder(tmp_path) as (client, _):
        done = await recorded(client, SILENCE, noise(2.03), SILENCE, **options)
        samples, rate_hz = hear(await client.fetch(done))
        path = f"/v1/recordings/{done['id']}/waveform"
        waveform = (await client.http.get(path)).json()
        assert (waveform["data"], waveform["rms"]) == of_file(samples, rate_hz)
        assert (waveform["samples"], waveform["is_final"], waveform["start"]) == (len(samples), True, 0)
        coarse = (await client.http.get(path, params={"points_per_second": 10, "from": 1.0, "to": 1.5})).json()
        assert (coarse["length"], coarse["samples_per_pixel"], coarse["start_s"]) == (5, 5 * 160, 1.0)
        data = np.array(waveform["data"]).reshape(-1, waveform["channels"], 2)[50:55]
        assert (
            coarse["data"][: 2 * waveform["channels"]]
            == np.stack((data[:, :, 0].min(axis=0), data[:, :, 1].max(axis=0)), axis=1).ravel().tolist()
        )
        dat = (await client.http.get(path, headers={"Accept": "application/octet-stream"})).content
        head = np.frombuffer(dat[:24], "<i4").tolist()
        assert head == [2, 1, rate_hz, 160, waveform["length"], waveform["channels"]]
        assert np.frombuffer(dat[24:], np.int8).tolist() == waveform["data"]
        etag = (await client.http.get(path)).headers["etag"]
        assert (await client.http.get(path, headers={"If-None-Match": etag})).status_code == 304
        for wrong in ({"points": 1, "points_per_second": 1}, {"from": -1}, {"points_per_second": 0}, {"zoom": 1}):
            assert (await client.http.get(path, params=wrong)).status_code == 422, wrong


def _found(folder: Path, names: str) -> list[Path]:
    return [*folder.rglob(names)]


async def test_a_waveform_that_is_lost_is_made_again_from_the_file(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        wav, mp3 = await recorded(client, noise(1.3)), await recorded(client, noise(1.3), session_id="b", format="mp3")
        for done in (wav, mp3):
            path = f"/v1/recordings/{done['id']}/waveform"
            before = (await client.http.get(path)).json()
            (file,) = await asyncio.to_thread(_found, tmp_path, f"{done['id']}.*.waveform")
            await asyncio.to_thread(file.write_bytes, b"half of what was here")
            after = (await client.http.get(path)).json()
            assert after["samples"] == before["samples"]
            near = np.abs(np.array(after["data"]) - np.array(before["data"]))
            assert near.max() <= (0 if done is wav else 12)  # a decoder gives back what it can of an MP3 file


async def test_a_recording_that_runs_is_seen_and_played_as_far_as_it_is(tmp_path: Path) -> None:
    voice = noise(30.0)
    async with recorder(tmp_path) as (client, _):
        recording = await client.start("call-77", channels="mono")
        async with client.connect("/media/pcm/call-77/a") as socket:
            sending = asyncio.create_task(_in_real_time(socket, voice))
            path = f"/v1/recordings/{recording['id']}"

            async def has_grown() -> dict[str, Any] | None:
                answer = await client.http.get(f"{path}/waveform")
                return answer.json() if answer.status_code == 200 and answer.json()["samples"] > RATE_HZ else None

            waveform = await until(has_grown)
            assert waveform is not None
            assert (waveform["is_final"], waveform["status"]) == (False, "ongoing")
            length = waveform["samples"]
            address = f"{path}/audio.wav?samples={length}"
            whole = await client.http.get(address)
            samples, rate_hz = hear(whole.content)
            assert (len(samples), rate_hz, whole.status_code) == (length, RATE_HZ, 200)
            assert of_file(samples, rate_hz)[0][: len(waveform["data"])] == waveform["data"]
            part = await client.http.get(address, headers={"Range": "bytes=100-299"})
            assert (part.status_code, part.headers["content-range"]) == (206, f"bytes 100-299/{80 + 2 * length}")
            assert part.content == whole.content[100:300]
            all_of_it = await client.http.get(address, headers={"Range": "bytes=0-"})
            assert (all_of_it.status_code, all_of_it.content) == (206, whole.content)
            beyond = await client.http.get(address, headers={"Range": "bytes=9999999-"})
            assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{80 + 2 * length}")
            assert (await client.http.head(address)).headers["content-length"] == str(80 + 2 * length)
            too_far = await client.http.get(f"{path}/audio.wav?samples=999999999")
            assert (too_far.status_code, too_far.headers["retry-after"]) == (404, "1")
            assert (await client.http.get(f"{path}/audio.mp3")).status_code == 404
            assert (await client.http.post(f"{path}/verify")).status_code == 409
            sending.cancel()
        await client.until(recording)
        finished = await client.http.get(address)
        assert finished.headers["x-recording-status"] == "available"
        assert hear(finished.content)[0][:length].tolist() == samples.tolist()


async def test_gaps_and_pauses_are_marked_where_they_are_in_the_file(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        recording = await client.start("call-77", channels="mono")
        async with client.connect("/media/pcm/call-77/a") as socket:
            sending = asyncio.create_task(_in_real_time(socket, noise(60.0)))
            await client.until_received("call-77", 1_000)
            await client.act(recording, "pause")
            await asyncio.sleep(0.5)
            await client.act(recording, "resume")
            await asyncio.sleep(0.5)
            sending.cancel()
        done = await client.until(await client.get(recording))
        told = (await client.http.get(f"/v1/recordings/{done['id']}/regions")).json()
        (pause,) = [region for region in told["regions"] if region["kind"] == "pause"]
        (receipt,) = done["integrity"]["pauses"]
        assert receipt["behavior"] == "skip"
        assert pause["start_s"] == pause["end_s"] == pytest.approx(receipt["start_ms"] / 1000)
        assert pause["length_s"] == receipt["length_ms"] / 1000
        assert told["is_final"]
        assert "paused" in pause["text"]


# ---- what is done, and what goes wrong -------------------------------------------------------------------------------


async def test_names_and_metadata_pass_through_as_they_are(tmp_path: Path) -> None:
    metadata = {"<b>": NASTY[:1_000], "note": "\u202e" + "a:b"}
    async with recorder(tmp_path) as (client, _), events(client.http) as seen:
        announced = {"session_id": "<img src=x>'\"&", "from": "\u202e+1", "to": "<script>"}
        assert (await client.http.post("/v1/sessions", json=announced | {"from": "+1"})).status_code == 201
        await seen.until(lambda told: announced["session_id"] in told.sessions)
        assert seen.sessions[announced["session_id"]]["to"] == "<script>"
        done = await recorded(client, noise(0.4), metadata=metadata)
        listed = await client.http.get("/v1/recordings", params={"metadata": "note:\u202ea:b"})
        (found,) = listed.json()["data"]
        assert (found["id"], found["metadata"]) == (done["id"], metadata)
        assert listed.headers["content-type"].startswith("application/json")
        assert (await client.http.get("/v1/recordings", params={"metadata": '"$.x:y'})).json()["data"] == []


@on_both
async def test_recordings_are_found_by_what_is_known_of_them(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        call = {"session_id": "call-1", "from": "+15550100", "to": "+15550199"}
        assert (await client.http.post("/v1/sessions", json=call)).status_code == 201
        long = await recorded(client, noise(2.0), session_id="call-1", metadata={"case": "4711"})
        short = await recorded(client, noise(0.5), session_id="call-2")
        await client.http.post(f"/v1/recordings/{short['id']}/hold", json={"by": "legal", "reason": "why"})

        async def found(**query: str) -> list[str]:
            answer = await client.http.get("/v1/recordings", params=query)
            assert answer.status_code == 200, answer.text
            return [each["id"] for each in answer.json()["data"]]

        both = [short["id"], long["id"]]
        for query, ids in (
            ({"party": "+15550199"}, [long["id"]]),
            ({"party": "+1555*"}, [long["id"]]),
            ({"party": "+1555"}, []),
            ({"q": "50100"}, [long["id"]]),
            ({"q": "call-"}, both),
            ({"q": "%"}, []),
            ({"longer_than_s": "1.0"}, [long["id"]]),
            ({"shorter_than_s": "1.0"}, [short["id"]]),
            ({"metadata": "case:4711"}, [long["id"]]),
            ({"held": "true"}, [short["id"]]),
            ({"held": "false"}, [long["id"]]),
            ({"end_reason": "hangup,stopped"}, both),
            ({"end_reason": "silence"}, []),
            ({"status": "available,failed", "q": "call-2"}, [short["id"]]),
        ):
            assert await found(**query) == ids, query
        page_one = (await client.http.get("/v1/recordings", params={"q": "call-", "limit": 1})).json()
        assert await found(q="call-", limit="1", cursor=page_one["next_cursor"]) == [long["id"]]
        for wrong in ({"status": "nice"}, {"metadata": "case"}, {"longer_than_s": "-1"}, {"q": ""}, {"sort": "x"}):
            answer = await client.http.get("/v1/recordings", params=wrong)
            assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, next(iter(wrong)))


@on_both
async def test_of_two_who_delete_at_once_one_is_told_that_it_is_gone(tmp_path: Path) -> None:
    async with recorder(tmp_path, api_key=SecretStr(KEY)) as (client, _), page(client.base_url) as browser:
        mine = Recorder(client.base_url, key=KEY)
        done = await recorded(mine, noise(0.5), key=KEY)
        await sign_in(browser)
        path = f"/v1/recordings/{done['id']}"
        without = await browser.delete(path, headers=OURS)
        assert (without.status_code, without.json()["errors"][0]["pointer"]) == (422, "reason")
        bad = await browser.delete(path, params={"reason": "\u202e\u0007"}, headers=OURS)
        assert bad.status_code == 422
        answers = await asyncio.gather(
            *(browser.delete(path, params={"reason": f"nobody needs it, {who}"}, headers=OURS) for who in "ab")
        )
        assert sorted(answer.status_code for answer in answers) in ([204, 404], [204, 204])
        for what in ("/waveform", "/audio.wav"):
            gone = await browser.get(path + what)
            assert (gone.status_code, "deleted" in gone.json()["detail"]) == (404, True)
        left = await asyncio.to_thread(lambda: [*tmp_path.rglob(f"{done['id']}*")])
        assert left == []
        await mine.http.aclose()


async def test_what_has_no_audio_or_expired_has_no_waveform(tmp_path: Path) -> None:
    wall = Wall()
    async with recorder(tmp_path, wall=wall) as (client, _):
        absent = await client.start("nobody-comes")
        waiting = await client.http.get(f"/v1/recordings/{absent['id']}/waveform")
        assert (waiting.status_code, waiting.headers["retry-after"]) == (404, "1")
        await client.act(absent, "stop")
        answer = await client.http.get(f"/v1/recordings/{absent['id']}/waveform")
        assert (answer.status_code, answer.json()["detail"]) == (404, "The recording has no audio: it is absent.")
        done = await recorded(client, noise(0.5))
        wall.ahead = timedelta(days=400)
        expired = await client.http.get(f"/v1/recordings/{done['id']}/waveform")
        assert (expired.status_code, "expired" in expired.json()["detail"]) == (404, True)
        unknown = await client.http.get("/v1/recordings/none/waveform")
        assert (unknown.status_code, unknown.headers["content-type"]) == (404, "application/problem+json")


async def test_a_file_that_was_changed_does_not_verify(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        done = await recorded(client, noise(0.5))
        path = f"/v1/recordings/{done['id']}/verify"
        fine = (await client.http.post(path)).json()
        assert (fine["verified"], fine["differences"], fine["audio_sha256"]) == (True, [], done["audio_sha256"])

        def spoil() -> None:
            (file,) = tmp_path.rglob(f"{done['id']}.wav")
            content = bytearray(file.read_bytes())
            content[500] ^= 1
            file.write_bytes(content)

        await asyncio.to_thread(spoil)
        spoiled = (await client.http.post(path)).json()
        assert (spoiled["verified"], spoiled["differences"]) == (False, ["its audio has another hash"])
        assert json.dumps(spoiled)
