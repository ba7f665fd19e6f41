"""The console as somebody sees it: a real browser looks at a real server while calls come in."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.async_api import Page, Route, expect
from pydantic import SecretStr

from tests.support.browser import browser
from tests.support.recorder import Recorder, recorder
from tests.support.talking import RATE_HZ, say, speak
from tests.support.tones import tone
from tests.support.waiting import until
from wavstream.api.console_page import FOLDER
from wavstream.service.server import running
from wavstream.settings import Settings

KEY = "key-of-the-app-default"
LEFT_HZ, RIGHT_HZ = 440, 1000
MOST_BYTES = 150_000
NASTY = "<img src=x onerror='window.attacked=1'><script>window.attacked=1</script>\u202eevil\u2066\u2028"
DAY_OFF = "const now = Date.now; Date.now = () => now() - 86400000; performance.timeOrigin;"
EARS = """
window.heard = null;
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (to, ...more) {
  if (to === this.context.destination) {
    const apart = this.context.createChannelSplitter(2);
    connect.call(this, apart);
    window.heard.ears = [0, 1].map((ear) => {
      const analyser = this.context.createAnalyser();
      analyser.fftSize = 8192;
      analyser.smoothingTimeConstant = 0;
      connect.call(apart, analyser, ear);
      return analyser;
    });
  }
  return connect.call(this, to, ...more);
};
const source = AudioContext.prototype.createMediaElementSource;
AudioContext.prototype.createMediaElementSource = function (element) {
  window.heard = {element, ears: []};
  return source.call(this, element);
};
"""
"""Ears at what leaves for the loudspeakers, and a hand on the element that plays."""
LISTEN = """() => heard.ears.map((ear) => {
  const levels = new Float32Array(ear.frequencyBinCount);
  ear.getFloatFrequencyData(levels);
  const at = levels.indexOf(Math.max(...levels));
  return levels[at] < -70 ? 0 : at * ear.context.sampleRate / ear.fftSize;
})"""
"""The loudest pitch at each ear in Hz; 0: nothing."""


@contextlib.asynccontextmanager
async def call(
    client: Recorder, session_id: str = "call-77", *, a: NDArray[np.int16], b: NDArray[np.int16]
) -> AsyncIterator[None]:
    """Stream two legs in real time for as long as the block lasts, or until they have said it."""
    path = f"/media/pcm/{session_id}"
    async with client.connect(f"{path}/a") as left, client.connect(f"{path}/b") as right:
        talking = [asyncio.create_task(speak(left, a)), asyncio.create_task(speak(right, b))]
        try:
            yield
        finally:
            for each in talking:
                each.cancel()
            await asyncio.gather(*talking, return_exceptions=True)


async def recorded(client: Recorder, session_id: str = "call-77", length_s: float = 3.0, **options: object) -> str:
    """Record a call that is sent at once; the recording's id."""
    recording = await client.start(session_id, **options)
    path = f"/media/pcm/{session_id}"
    async with client.connect(f"{path}/a") as left, client.connect(f"{path}/b") as right:
        await asyncio.gather(say(left, tone(LEFT_HZ, length_s)), say(right, tone(RIGHT_HZ, length_s)))
    await client.until(recording)
    return str(recording["id"])


async def position_s(page: Page) -> float:
    found: float = await page.evaluate("heard.element.currentTime")
    return found


async def until_heard(page: Page, left_hz: int, right_hz: int) -> None:
    """Wait until this pitch is the loudest at each ear."""

    async def is_heard() -> bool:
        found = await page.evaluate(LISTEN)
        return all(abs(float(hz) - wanted) < 20 for hz, wanted in zip(found, (left_hz, right_hz), strict=True))

    await until(is_heard)


# ---- live ------------------------------------------------------------------------------------------------------------


async def test_a_call_is_seen_its_meters_move_and_a_leg_that_sends_silence_is_explained(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), browser(client.base_url) as visit:
        page = visit.page
        await page.add_init_script(DAY_OFF)  # a clock that is wrong by a day changes nothing of what is said
        await visit.go()
        await page.get_by_text("Nothing is live").wait_for()
        assert await visit.barriers() == []
        voice = np.concatenate([tone(LEFT_HZ, 0.5) // 8, tone(LEFT_HZ, 0.5)] * 60)
        async with call(client, a=voice, b=np.zeros(60 * RATE_HZ, np.int16)):
            card = page.get_by_role("article", name="Session call-77")
            await card.get_by_text("Nothing records this call").first.wait_for()
            await card.get_by_role("button", name="Record").click()
            await card.get_by_role("link", name="records: wav").wait_for()

            meter, seen = card.get_by_role("meter", name="Level of leg a"), set[str | None]()

            async def has_moved() -> bool:
                seen.add(await meter.get_attribute("aria-valuenow"))
                levels = [int(each) for each in seen if each not in (None, "-60")]
                return bool(levels) and max(levels) - min(levels) > 10  # two loudnesses, 18 dB apart

            await until(has_moved)
            leg = card.get_by_role("region", name="Leg b")
            await expect(leg.locator("[data-code=frames_of_silence]")).to_contain_text("only silence in them")
            await expect(card.get_by_role("region", name="Leg a")).to_contain_text("last word now")
            await card.get_by_role("button", name="Levels").click()
            await card.get_by_role("img", name="Level of inbound").first.wait_for()
            assert await visit.barriers() == []
            await visit.picture("live")

            await card.get_by_role("button", name="Pause").click()
            await card.get_by_text("recording of the call is paused").first.wait_for()
            await card.get_by_role("button", name="Resume").click()
            await card.get_by_role("button", name="Stop").click()
            await expect(card.get_by_role("link", name="records: wav")).to_have_count(0)
            await leg.get_by_role("link", name="What to do").click()
            await page.get_by_role("heading", name="Why is a leg silent?").wait_for()
            assert await page.evaluate("document.getElementById(location.hash.slice(1)) !== null")
            assert await visit.barriers() == []


async def test_of_two_thousand_legs_only_those_in_sight_are_in_the_document(tmp_path: Path) -> None:
    track = {"track": "inbound", "pace": 1.0, "gaps": 0, "gap_ms": 0, "drift_ppm": 0}
    leg = {
        "leg": "a", "state": "streaming", "dialect": "pcm", "codec": "l16", "rate": 8000, "clock": "arrival",
        "joined_at": None, "silent_because": None, "suspicions": [],
    }  # fmt: skip
    now = {"now": "2026-11-01T10:00:00.000000Z"}
    sessions = [
        {
            "session_id": f"call-{number:04}", "from": None, "to": None, "direction": None, "recordings": [],
            "created_at": f"2026-11-01T09:{number // 60:02}:{number % 60:02}.000000Z",
            "legs": [
                {**leg, "leg": name, "tracks": [{**track, "meter": 2 * number + at}]} for at, name in enumerate("ab")
            ],
        }
        for number in range(1_000)
    ]  # fmt: skip

    def event(name: str, data: object) -> str:
        return f"event: {name}\nid: x.1\ndata: {json.dumps(data)}\n\n"

    told = event("reset", {**now, "version": "1", "workers_left_out": []})
    for at in range(0, len(sessions), 50):
        told += event("sessions", {**now, "sessions": sessions[at : at + 50], "gone": []})
    told += event("meters", {**now, "legs": [[number, -20, -10, 1.0, 50, 9.0, None] for number in range(2_000)]})
    told += event("whole", {}) + "retry: 100000\n\n"

    async def tell(route: Route) -> None:
        await route.fulfill(body=told, content_type="text/event-stream")

    async with recorder(tmp_path) as (client, _), browser(client.base_url) as visit:
        page = visit.page
        await page.route("**/v1/live", tell)
        await visit.go()
        await page.get_by_text("1000 sessions, 2000 legs").wait_for()
        rows = page.get_by_role("list", name="Sessions").get_by_role("article")
        assert await rows.count() < 60
        await page.evaluate("scrollTo(0, document.body.scrollHeight)")
        await page.get_by_role("article", name="Session call-0000").wait_for()
        assert await rows.count() < 60
        await page.get_by_label("Find").fill("call-0500")
        await expect(rows).to_have_count(1)
        assert "find=call-0500" in page.url


async def test_a_page_says_that_the_server_was_restarted_and_goes_on(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(contextlib.AsyncExitStack())
        client, service = await first.enter_async_context(recorder(tmp_path))
        port = service.settings.port
        visit = await stack.enter_async_context(browser(client.base_url))
        visit.allowed.append("Failed to load resource: net::ERR_")
        await visit.go()
        await visit.page.get_by_text("Nothing is live").wait_for()
        await first.aclose()
        banner = visit.page.get_by_text("The server does not answer")
        await banner.wait_for()
        assert await visit.barriers() == []
        async with running(Settings(port=port, data_dir=tmp_path)):
            again = Recorder(visit.base_url)
            await expect(banner).to_have_count(0)
            await again.start("call-78")
            await visit.page.get_by_role("article", name="Session call-78").wait_for()
            await again.http.aclose()


# ---- one recording ---------------------------------------------------------------------------------------------------


async def test_a_recording_is_played_while_it_grows_and_each_channel_can_be_told_apart(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), browser(client.base_url) as visit:
        page = visit.page
        await page.add_init_script(EARS)
        recording = await client.start("call-77")
        async with call(client, a=tone(LEFT_HZ, 90), b=tone(RIGHT_HZ, 90)):
            await visit.go(f"?recording={recording['id']}")
            await page.get_by_role("button", name="Play", exact=True).click()
            await until_heard(page, LEFT_HZ, RIGHT_HZ)
            opened_s: float = await page.evaluate(
                "Number(new URL(heard.element.currentSrc).searchParams.get('samples')) / 8000"
            )

            async def is_beyond_what_was_opened() -> bool:
                return bool(await position_s(page) > opened_s + 0.5)

            await until(is_beyond_what_was_opened)
            await until_heard(page, LEFT_HZ, RIGHT_HZ)
            for button, wanted in (
                ("Swap", (RIGHT_HZ, LEFT_HZ)),
                ("Mute left", (RIGHT_HZ, 0)),
                ("Mute left", (RIGHT_HZ, LEFT_HZ)),
                ("Only left", (LEFT_HZ, LEFT_HZ)),
                ("Only left", (RIGHT_HZ, LEFT_HZ)),
            ):
                await page.get_by_role("button", name=button).click()
                await until_heard(page, *wanted)
            await page.get_by_label("Speed").select_option("2")
            assert await page.evaluate("[heard.element.playbackRate, heard.element.preservesPitch]") == [2, True]
            await page.get_by_role("button", name="Stop recording").click()
        await page.get_by_role("link", name="Download WAV").wait_for()
        done = await client.until(recording)

        async def is_at_the_end() -> bool:
            return await position_s(page) >= float(done["duration_ms"]) / 1000 - 0.2

        await until(is_at_the_end)
        await page.get_by_role("button", name="Play", exact=True).press("Home")
        await until(lambda: page.evaluate("heard.element.currentTime === 0"))


async def test_a_gap_is_a_region_at_its_second_and_a_link_leads_to_a_second(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), browser(client.base_url) as visit:
        page = visit.page
        recording = await client.start("call-77", metadata={"customer": "4711"})
        async with client.connect("/media/pcm/call-77/a") as left, client.connect("/media/pcm/call-77/b") as right:
            talking = asyncio.create_task(speak(left, tone(LEFT_HZ, 5)))
            await speak(right, tone(RIGHT_HZ, 2))
            await asyncio.sleep(1.5)  # nobody says anything: that is the situation
            await speak(right, tone(RIGHT_HZ, 1))
            await talking
        await client.until(recording)
        regions = (await client.http.get(f"/v1/recordings/{recording['id']}/regions")).json()
        gaps = [each for each in regions["regions"] if each["kind"] == "gap"]
        gap = max(gaps, key=lambda each: float(each["length_s"]))
        await visit.go(f"?recording={recording['id']}#t=3.2")
        mark = page.locator(".wave [part~=region]").nth(gaps.index(gap))
        await mark.wait_for()
        left_part, width_part = await mark.evaluate(
            "each => [parseFloat(each.style.left), each.clientWidth / each.parentElement.clientWidth]"
        )
        assert left_part / 100 * regions["duration_s"] == pytest.approx(gap["start_s"], abs=0.05)
        assert width_part * regions["duration_s"] == pytest.approx(gap["end_s"] - gap["start_s"], abs=0.1)
        await expect(page.locator(".marks li").nth(regions["regions"].index(gap))).to_contain_text(gap["text"])
        await expect(page.locator(".now")).to_contain_text("0:03.2 /")
        await page.locator(".marks li button").nth(regions["regions"].index(gap)).click()
        await expect(page.locator(".now")).to_contain_text(re.compile(rf"^0:0{gap['start_s']:.1f}"[:5]))
        await expect(page.get_by_role("region", name="Receipt")).to_contain_text(re.compile(r"\d gaps?, together 1\."))
        assert await visit.barriers() == []
        await visit.picture("recording")

        await page.get_by_role("button", name="Verify").click()
        await page.get_by_text("The file is as it was recorded").wait_for()
        for kind in ("WAV", "MP3"):
            async with page.expect_download() as download:
                await page.get_by_role("link", name=f"Download {kind}").click()
            assert (await download.value).suggested_filename.endswith(f".{kind.lower()}")


async def test_what_cannot_be_undone_asks_for_a_reason_and_says_where_somebody_was_faster(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), browser(client.base_url) as visit:
        page = visit.page
        visit.allowed.append("Failed to load resource: the server responded with a status of 404")
        both = [await recorded(client, f"call-{number}") for number in range(2)]
        for recording_id, is_first in zip(both, (True, False), strict=True):
            await visit.go(f"?recording={recording_id}")
            if is_first:
                await page.get_by_role("button", name="Hold").click()
                await page.get_by_label("Who holds it").fill("J. Doe, legal")
                await page.get_by_label("Reason").fill("case 4711")
                assert await visit.barriers() == []
                await page.get_by_role("dialog").get_by_role("button", name="Hold").click()
                await page.get_by_text("held by J. Doe, legal: case 4711").wait_for()
                await expect(page.get_by_role("button", name="Delete")).to_be_disabled()
                await page.get_by_role("button", name="Release the hold").click()
            await page.get_by_role("button", name="Delete").click()
            confirm = page.get_by_role("dialog").get_by_role("button", name="Delete")
            await confirm.click()
            assert (await client.http.get(f"/v1/recordings/{recording_id}")).json()["status"] == "available"
            await page.get_by_label("Reason").fill("asked for by the customer")
            if not is_first:
                assert (await client.http.delete(f"/v1/recordings/{recording_id}")).status_code == 204
            await confirm.click()
            await page.get_by_text("It is no longer there").wait_for()
            if not is_first:
                await page.get_by_text("Somebody else has erased it already").wait_for()
            assert await visit.barriers() == []


async def test_a_waveform_that_nobody_has_is_said_in_words(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), browser(client.base_url) as visit:
        visit.allowed.append("Failed to load resource: the server responded with a status of 404")
        recording = await client.start("call-77")
        await client.act(recording, "stop")
        await client.until(recording, "absent")
        await visit.go(f"?recording={recording['id']}")
        await visit.page.get_by_text("It ended without audio").wait_for()
        assert await visit.barriers() == []
        await visit.go(f"?recording={'0' * 32}")
        await visit.page.get_by_role("alert").filter(has_text=re.compile(".")).wait_for()


# ---- recordings, letters, signing in ---------------------------------------------------------------------------------


async def test_a_search_is_in_the_address_and_goes_on_page_by_page(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), browser(client.base_url) as visit:
        page = visit.page
        for number in range(52):
            await client.start(f"call-{number:02}")
        await recorded(client, "shop-1", metadata={"customer": "4711"})
        await visit.go("?view=recordings")
        rows = page.locator("tbody tr")
        await expect(rows).to_have_count(50)
        await page.get_by_role("link", name="Older").click()
        await expect(rows).to_have_count(3)
        assert "cursor=" in page.url
        await page.go_back()
        await expect(rows).to_have_count(50)
        await page.get_by_label("Find").fill("shop")
        await page.get_by_label("Status").select_option("available")
        await page.get_by_role("button", name="Search").click()
        await expect(rows).to_have_count(1)
        assert "q=shop" in page.url
        assert "status=available" in page.url
        assert await visit.barriers() == []
        await visit.picture("recordings")
        await page.reload()
        await expect(rows).to_have_count(1)
        await visit.go("?view=recordings&metadata=customer%3A4711&longer_than_s=1")
        await expect(rows).to_have_count(1)
        await page.get_by_role("link", name="shop-1").click()
        await page.get_by_role("heading", name="shop-1").wait_for()


async def test_who_signs_in_sees_his_app_until_he_signs_out_or_the_key_ends(tmp_path: Path) -> None:
    async with recorder(tmp_path, api_key=SecretStr(KEY)) as (client, _), browser(client.base_url) as visit:
        page = visit.page
        visit.allowed.append("Failed to load resource: the server responded with a status of 401")
        await visit.go()
        await page.get_by_label("Key").fill("no-key-of-anybody")
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_text("No app has this key").wait_for()
        assert await visit.barriers() == []
        await page.get_by_label("Key").fill(KEY)
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_text("Nothing is live").wait_for()
        assert await page.evaluate("document.cookie") == ""
        await page.get_by_text("Record a session that is not live yet").click()
        await page.get_by_label("Session id").fill("call-79")
        await page.get_by_role("button", name="Start recording").click()
        await page.get_by_role("article", name="Session call-79").wait_for()
        await page.get_by_role("button", name="Sign out").click()
        await page.get_by_label("Key").wait_for()
        await page.reload()
        await page.get_by_label("Key").wait_for()


async def test_what_a_peer_wrote_is_text_whatever_it_is(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), browser(client.base_url) as visit:
        page = visit.page
        recording_id = await recorded(client, metadata={NASTY: NASTY + "x" * 3_900, "<b>": "\u202etxt.exe"})
        for where in (f"?recording={recording_id}", "?view=recordings&q=" + "%3Cscript%3E", f"?recording={NASTY}"):
            visit.allowed.append("Failed to load resource: the server responded with a status of 4")
            await visit.go(where)
            await page.get_by_role("heading", level=1).wait_for()
            if where == f"?recording={recording_id}":
                await page.get_by_role("heading", name="Metadata").wait_for()
                shown = await page.get_by_role("region", name="Metadata").inner_text()
                assert "<script>" in shown
                assert "⟨202E⟩" in shown
                assert not {"\u202e", "\u2066", "\u2028"} & set(await page.content())
            assert await page.evaluate("window.attacked") is None
            assert await page.locator("main img, main script").count() == 0
            assert await visit.barriers() == []


async def test_webhooks_that_were_given_up_are_sent_again(tmp_path: Path) -> None:
    letter = {
        "id": "5f0c0b6e", "event": "recording.completed", "session_id": NASTY, "sequence": 2, "recording_id": None,
        "attempts": 149, "error": "answered 500", "created_at": "2026-11-01T10:01:01Z",
        "died_at": "2026-11-02T10:01:01Z",
    }  # fmt: skip
    asked: list[str] = []

    async def answer(route: Route) -> None:
        if route.request.method == "POST":
            asked.append(route.request.post_data or "")
            await route.fulfill(json={"replayed": 1})
        elif route.request.url.split("?")[0].endswith("dead-letters"):
            await route.fulfill(json={"data": [] if asked else [letter], "next_cursor": None})
        else:
            await route.fulfill(json={**letter, "body": {"session_uuid": NASTY}})

    async with recorder(tmp_path) as (client, _), browser(client.base_url) as visit:
        page = visit.page
        await page.route("**/v1/webhooks/dead-letters**", answer)
        await page.route("**/v1/webhooks/dead-letters/**", answer)
        await visit.go("?view=letters")
        await page.get_by_role("button", name="Show its body").click()
        await expect(page.locator("pre")).to_contain_text("session_uuid")
        assert await visit.barriers() == []
        await page.get_by_role("button", name="Send again").click()
        await page.get_by_text("1 webhook is on the way again").wait_for()
        await page.get_by_text("There is none").wait_for()
        assert [json.loads(each) for each in asked] == [{"ids": ["5f0c0b6e"]}]


# ---- every screen, every browser -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(360, 640), (3840, 2160)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_fits_every_screen_by_day_and_by_night(tmp_path: Path, width: int, height: int, scheme: str) -> None:
    looks = {"viewport": {"width": width, "height": height}, "color_scheme": scheme}
    async with recorder(tmp_path) as (client, _), browser(client.base_url, **looks) as visit:
        recording_id = await recorded(client, "a-session-with-a-name-that-is-as-long-as-it-can-be-" + "x" * 60)
        async with call(client, a=tone(LEFT_HZ, 60), b=tone(RIGHT_HZ, 60)):
            for where, sign in (
                ("", "[data-code=not_recorded]"),
                ("?view=recordings", "tbody tr"),
                (f"?recording={recording_id}", ".player"),
                ("?view=help", "#away"),
            ):
                await visit.go(where)
                await visit.page.locator(sign).first.wait_for()
                assert await visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), where
                assert await visit.barriers() == [], where
                if width == 360 and scheme == "dark" and not where:
                    await visit.picture("phone")


def test_the_page_weighs_little() -> None:
    files = [each for each in FOLDER.rglob("*") if each.is_file()]
    assert sum(len(gzip.compress(each.read_bytes(), 9)) for each in files) < MOST_BYTES


async def test_a_browser_that_is_offered_what_the_page_may_not_load_loads_nothing(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), browser(client.base_url) as visit:
        await visit.go()
        await visit.page.get_by_text("Nothing is live").wait_for()
        visit.allowed += ["Loading the image", "Executing inline script", "Failed to load"]
        await visit.page.evaluate(
            "() => { const one = document.createElement('script'); one.textContent = 'window.attacked = 1';"
            " document.body.append(one); }"
        )
        assert await visit.page.evaluate("window.attacked") is None
