"""The console as somebody sees it: a real browser looks at a real server while calls come in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from playwright.async_api import Browser, Page, Route, expect
from pydantic import SecretStr
from rich.console import Console

from tests.support.browser import browser, visiting
from tests.support.events import events
from tests.support.receiver import Answer, Received, Receiver
from tests.support.recorder import Recorder, ServerProcess, Wall, recorder
from tests.support.talking import RATE_HZ, say, speak
from tests.support.tones import tone
from tests.support.waiting import until
from wavstream.cli.apps import add_app, revoke_key
from wavstream.listening import live_pages
from wavstream.rendering.waveform import WaveformForm
from wavstream.service.server import running
from wavstream.settings import Settings, WebhookSettings
from wavstream.settings.quotas import QuotaSettings
from wavstream.storage.waveform_file import head_of

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.asyncio(loop_scope="module")]
"""One browser is enough for all."""

KEY = "key-of-the-app-default"
LEFT_HZ, RIGHT_HZ = 440, 1000
NEVER = "<b onmouseover=window.attacked=1>never streams"
NASTY = "<img src=x onerror='window.attacked=1'><script>window.attacked=1</script>\u202eevil\u2066\u2028"
DAY_OFF = """
const Right = Date;
Date = class extends Right {
  constructor(...given) { given.length ? super(...given) : super(Right.now() - 86400000); }
  static now() { return Right.now() - 86400000; }
};
"""
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
DRAWN = """() => {
  const root = document.querySelector(".wave > div").shadowRoot;
  const {left, right} = root.querySelector(".scroll").getBoundingClientRect();
  const columns = [];
  for (const each of root.querySelector(".canvases > div").querySelectorAll("canvas")) {
    const box = each.getBoundingClientRect();
    if (box.right <= left || box.left >= right) continue;
    const {data, width, height} = each.getContext("2d").getImageData(0, 0, each.width, each.height);
    for (let x = 0; x < width; x += 1) {
      const at = box.left + x * box.width / width;
      let drawn = 0;
      for (let y = 0; y < height; y += 1) drawn += data[4 * (y * width + x) + 3] > 127;
      if (at >= left && at < right) columns.push([at, drawn / height]);
    }
  }
  return columns.sort((a, b) => a[0] - b[0]).map((each) => each[1]);
}"""
"""How high the upper waveform is at each place in sight, 0 to 1."""
READ_BACK = "Canvas2D: Multiple readback"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chrome() -> AsyncIterator[Browser]:
    """Yield the browser, in which each test opens a page of its own."""
    async with browser() as started:
        yield started


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


async def test_a_call_is_seen_its_meters_move_and_a_leg_that_sends_silence_is_explained(
    chrome: Browser, tmp_path: Path
) -> None:
    async with recorder(tmp_path) as (client, _), visiting(chrome, client.base_url) as visit:
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


async def test_of_two_thousand_legs_only_those_in_sight_are_in_the_document(chrome: Browser, tmp_path: Path) -> None:
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
    told += event("whole", {})
    looks = 0

    async def tell(route: Route) -> None:
        """Tell a level of each leg, another one each time; the page comes again for the next."""
        nonlocal looks
        looks += 1
        legs = [[number, -20 - looks % 20, -10, 1.0, 50, 9.0, None] for number in range(2_000)]
        meters = event("meters", {**now, "legs": legs})
        body = "retry: 100\n\n" + (told if looks == 1 else "") + meters
        await route.fulfill(body=body, content_type="text/event-stream")

    async with recorder(tmp_path) as (client, _), visiting(chrome, client.base_url) as visit:
        page = visit.page
        await page.route("**/v1/live", tell)
        await visit.go()
        await page.get_by_text("1000 sessions, 2000 legs").wait_for()
        rows = page.get_by_role("list", name="Sessions").get_by_role("article")
        assert await rows.count() < 60
        height: int = await page.evaluate("document.body.scrollHeight")
        for part in np.linspace(0, 1, 9):  # the newest is on top
            await page.evaluate("part => scrollTo(0, part * (document.body.scrollHeight - innerHeight))", float(part))
            await page.wait_for_function(
                """() => [...document.querySelectorAll(".virtual article")].some((each) => {
                  const {top, bottom} = each.getBoundingClientRect();
                  return top < innerHeight / 2 && bottom > innerHeight / 2 - 40;
                })"""
            )
            assert await rows.count() < 60
        await page.get_by_role("article", name="Session call-0000").wait_for()
        assert await page.evaluate("document.body.scrollHeight") < 2 * height
        meter, seen = page.get_by_role("meter").last, set[str | None]()

        async def has_moved() -> bool:
            seen.add(await meter.get_attribute("aria-valuenow"))
            return len(seen) > 3  # it is told anew while one has scrolled

        await until(has_moved)
        await page.get_by_label("Find").fill("call-0500")
        await expect(rows).to_have_count(1)
        assert "find=call-0500" in page.url


async def test_a_page_says_that_the_server_was_restarted_and_is_another_one_and_goes_on(
    chrome: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(contextlib.AsyncExitStack())
        client, service = await first.enter_async_context(recorder(tmp_path))
        port = service.settings.port
        visit = await stack.enter_async_context(visiting(chrome, client.base_url))
        visit.allowed.append("Failed to load resource: net::ERR_")
        await visit.go()
        await visit.page.get_by_text("Nothing is live").wait_for()
        await first.aclose()
        banner = visit.page.get_by_text("The server does not answer")
        await banner.wait_for()
        assert await visit.barriers() == []
        monkeypatch.setattr(live_pages, "__version__", "99.0.0")
        async with running(Settings(port=port, data_dir=tmp_path)):
            again = Recorder(visit.base_url)
            await expect(banner).to_have_count(0)
            newer = visit.page.get_by_text("The server has a new version")
            await newer.wait_for()
            assert await visit.barriers() == []
            await visit.page.get_by_role("link", name="Load this page again").click()
            await visit.page.get_by_text("Nothing is live").wait_for()
            await expect(newer).to_have_count(0)
            await again.start("call-78")
            await visit.page.get_by_role("article", name="Session call-78").wait_for()
            await again.http.aclose()


async def test_a_server_that_stands_still_is_not_taken_for_one_where_all_is_well(
    chrome: Browser, tmp_path: Path
) -> None:
    async with ServerProcess(tmp_path) as server:
        client = await server.start()
        async with visiting(chrome, client.base_url) as visit:
            # Nobody waits for what the page waits for.
            await visit.page.add_init_script(
                "const at = performance.now.bind(performance); performance.now = () => 20 * at();"
            )
            await visit.go()
            async with call(client, a=tone(LEFT_HZ, 120), b=tone(RIGHT_HZ, 120)):
                await visit.page.get_by_role("meter").first.wait_for()
                server.freeze()
                banner = visit.page.get_by_text("The server does not answer")
                await banner.wait_for()
                server.thaw()
                await expect(banner).to_have_count(0)
            await client.http.aclose()


async def test_a_page_beyond_those_that_may_look_says_so_and_takes_its_turn(chrome: Browser, tmp_path: Path) -> None:
    quotas = QuotaSettings(live_pages=1)
    async with recorder(tmp_path, quotas=quotas) as (client, _), visiting(chrome, client.base_url) as visit:
        visit.allowed.append("Failed to load resource: the server responded with a status of 429")
        async with events(client.http) as other:
            await other.until(lambda told: told.is_whole)
            await visit.go()
            banner = visit.page.get_by_text("As many pages look at what is live as may")
            await banner.wait_for()
            assert await visit.barriers() == []
        await visit.page.get_by_text("Nothing is live").wait_for()
        await expect(banner).to_have_count(0)


# ---- one recording ---------------------------------------------------------------------------------------------------


async def test_a_recording_is_played_while_it_grows_and_each_channel_can_be_told_apart(
    chrome: Browser, tmp_path: Path
) -> None:
    async with recorder(tmp_path) as (client, _), visiting(chrome, client.base_url) as visit:
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


async def test_a_gap_is_a_region_at_its_second_and_a_link_leads_to_a_second(chrome: Browser, tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), visiting(chrome, client.base_url) as visit:
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


async def test_a_recording_that_runs_is_drawn_as_it_grows_and_is_paused_resumed_and_stopped_on_its_page(
    chrome: Browser, tmp_path: Path
) -> None:
    async with recorder(tmp_path) as (client, _), visiting(chrome, client.base_url) as visit:
        page = visit.page
        visit.allowed.append(READ_BACK)
        recording = await client.start("call-77")
        voice = np.concatenate([tone(LEFT_HZ, 2), np.zeros(60 * RATE_HZ, np.int16)])
        async with call(client, a=voice, b=voice):
            await visit.go(f"?recording={recording['id']}")
            await page.get_by_role("button", name="Play", exact=True).wait_for()

            async def loud_part() -> float:
                drawn = np.array(await page.evaluate(DRAWN))
                return float((drawn > 0.1).mean()) if len(drawn) else 0.0

            first = await until(loud_part)

            async def is_less_of_a_longer_one() -> bool:
                return 0 < await loud_part() < 0.7 * first

            await until(is_less_of_a_longer_one)
            await page.get_by_role("button", name="Pause recording").click()
            await page.get_by_text("Paused.").wait_for()
            await client.until(recording, "paused")
            assert await visit.barriers() == []
            await page.get_by_role("button", name="Resume recording").click()
            await page.get_by_text("It goes on.").wait_for()
            await client.until(recording, "ongoing")
            await page.get_by_role("button", name="Stop recording").click()
            await page.get_by_role("link", name="Download WAV").wait_for()
            assert await page.get_by_role("button", name="Stop recording").count() == 0
            await expect(page.locator(".marks li")).to_contain_text([re.compile("paused")])


async def test_silence_is_skipped_and_the_small_picture_of_all_leads_anywhere(chrome: Browser, tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), visiting(chrome, client.base_url) as visit:
        page = visit.page
        await page.add_init_script(EARS)
        recording = await client.start("call-77")
        said = [tone(LEFT_HZ, 2), np.zeros(4 * RATE_HZ, np.int16), tone(LEFT_HZ, 1)]
        path = "/media/pcm/call-77"
        async with client.connect(f"{path}/a") as left, client.connect(f"{path}/b") as right:
            await asyncio.gather(say(left, *said), say(right, *said))
        await client.until(recording)
        await visit.go(f"?recording={recording['id']}")
        minimap = page.locator(".wave [part~=minimap]")
        box = await minimap.bounding_box()
        assert box is not None
        await minimap.click(position={"x": box["width"] * 0.5, "y": box["height"] / 2})
        await expect(page.locator(".now")).to_contain_text(re.compile(r"^0:03\.[45] /"))
        await page.get_by_label("Skip silence").check()
        play = page.get_by_role("button", name="Play", exact=True)
        await play.press("Home")
        await play.click()
        await page.evaluate(
            "() => { window.places = [];"
            " heard.element.addEventListener('timeupdate', () => places.push(heard.element.currentTime)); }"
        )
        await until(lambda: page.evaluate("heard.element.ended"))
        places: list[float] = await page.evaluate("places")
        assert [place for place in places if 2.9 < place < 5.5] == []
        assert [place for place in places if place > 5.5]
        assert [place for place in places if place < 2.2]


async def test_four_hours_are_looked_at_as_fine_as_twenty_milliseconds(chrome: Browser, tmp_path: Path) -> None:
    hours_s, points_per_s = 4 * 3600, 50
    async with recorder(tmp_path) as (client, service), visiting(chrome, client.base_url) as visit:
        page = visit.page
        visit.allowed.append(READ_BACK)
        recording_id = await recorded(client, channels="mono")
        row = await service.catalog.recordings.get(recording_id)
        assert row is not None
        assert row.receipt is not None
        # Its waveform is one of four hours, in which every other point is loud; so says its receipt.
        form = WaveformForm.of(RATE_HZ, 1)
        points = np.zeros((hours_s * points_per_s, 3), np.int8)
        points[::2] = (-100, 100, 70)
        long = replace(row, receipt=replace(row.receipt, samples=hours_s * RATE_HZ))
        assert await service.catalog.recordings.save(long)

        def stretch() -> None:
            (file,) = tmp_path.rglob(f"{recording_id}.*.waveform")
            file.write_bytes(head_of(form, hours_s * RATE_HZ) + points.tobytes())

        await asyncio.to_thread(stretch)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "/waveform?" in request.url else None)
        await visit.go(f"?recording={recording_id}")
        await expect(page.locator(".now")).to_contain_text("/ 4:00:00.0")

        async def all_of_it_is_one_block() -> bool:
            drawn = np.array(await page.evaluate(DRAWN))
            return bool(len(drawn) and (drawn > 0.5).mean() > 0.98)

        await until(all_of_it_is_one_block)
        zoom = page.get_by_label("Zoom")
        await zoom.focus()
        await zoom.press("End")

        async def every_other_point_is_there() -> bool:
            drawn = np.array(await page.evaluate(DRAWN))
            return bool(np.abs(np.diff(drawn > 0.5)).sum() > len(drawn) / 8)  # a point has 4 pixels

        await until(every_other_point_is_there)
        assert await page.locator(".wave [part~=timeline]").inner_text()
        assert await visit.barriers() == []
        await page.locator(".wave .scroll").first.evaluate("each => { each.scrollLeft = each.scrollWidth }")
        await expect(page.locator(".wave [part~=timeline]")).to_contain_text("3:59:59")
        await until(every_other_point_is_there)
        parts = [each for each in asked if "samples_per_pixel=160" in each]
        assert parts
        for part in parts:  # never the whole of it
            found = re.search(r"from=([\d.]+)&to=([\d.]+)", part)
            assert found is not None
            assert float(found[2]) - float(found[1]) < 0.05 * hours_s
        await zoom.press("Home")
        await until(
            lambda: page.locator(".wave .scroll").first.evaluate("each => each.scrollWidth === each.clientWidth")
        )


async def test_what_cannot_be_undone_asks_for_a_reason_and_says_where_somebody_was_faster(
    chrome: Browser, tmp_path: Path
) -> None:
    async with recorder(tmp_path) as (client, _), visiting(chrome, client.base_url) as visit:
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


async def test_a_waveform_that_nobody_has_is_said_in_words(chrome: Browser, tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), visiting(chrome, client.base_url) as visit:
        visit.allowed.append("Failed to load resource: the server responded with a status of 404")
        recording = await client.start("call-77")
        await client.act(recording, "stop")
        await client.until(recording, "absent")
        await visit.go(f"?recording={recording['id']}")
        await visit.page.get_by_text("It ended without audio").wait_for()
        assert await visit.barriers() == []
        await visit.go(f"?recording={'0' * 32}")
        await visit.page.get_by_role("alert").filter(has_text=re.compile(".")).wait_for()


async def test_what_is_gone_or_never_was_is_said_and_nothing_else_of_it(chrome: Browser, tmp_path: Path) -> None:
    wall = Wall()
    async with recorder(tmp_path, wall=wall) as (client, _), visiting(chrome, client.base_url) as visit:
        page = visit.page
        visit.allowed.append("Failed to load resource: the server responded with a status of 404")
        gone = [await recorded(client, f"secret-{number}", 0.5) for number in range(2)]
        assert (await client.http.delete(f"/v1/recordings/{gone[0]}")).status_code == 204
        wall.ahead = timedelta(hours=25)
        for recording_id, word in ((gone[0], "it was erased"), (gone[1], "it was kept as long as it had to be")):
            await visit.go(f"?recording={recording_id}")
            await page.get_by_text(word).wait_for()
            assert await page.get_by_role("button").count() == 0
            assert await page.get_by_role("link", name="Download").count() == 0
            assert await visit.barriers() == []
        for unknown in ("0" * 32, "..%2Fsessions", "x" * 2_000):
            await visit.go(f"?recording={unknown}")
            await page.get_by_text("There is none of this address").wait_for()
            await page.get_by_role("link", name="What there is").click()
            await page.get_by_role("heading", name="Recordings").wait_for()
        await visit.go("?view=<script>")
        await page.get_by_role("heading", name="There is no such page").wait_for()
        assert await visit.barriers() == []


# ---- recordings, letters, signing in ---------------------------------------------------------------------------------


async def test_a_search_is_in_the_address_and_goes_on_page_by_page(chrome: Browser, tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), visiting(chrome, client.base_url) as visit:
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


async def test_who_signs_in_sees_his_app_until_he_signs_out_or_the_key_ends(chrome: Browser, tmp_path: Path) -> None:
    async with recorder(tmp_path, api_key=SecretStr(KEY)) as (client, _), visiting(chrome, client.base_url) as visit:
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


async def test_who_has_no_key_any_more_is_told_so_and_sees_nothing_any_more(chrome: Browser, tmp_path: Path) -> None:
    settings, out = Settings(data_dir=tmp_path), Console(record=True, width=500)
    async with (
        recorder(tmp_path, api_key=SecretStr(KEY)) as (client, _),
        visiting(chrome, client.base_url) as visit,
    ):
        page = visit.page
        visit.allowed += [f"Failed to load resource: the server responded with a status of {n}" for n in (401, 404)]
        client.http.headers["Authorization"] = f"Bearer {KEY}"
        others = await client.start("call-of-another-app")
        await asyncio.to_thread(asyncio.run, add_app("shop", None, (), settings, out))
        key = out.export_text().split()[-1]
        client.http.headers["Authorization"] = f"Bearer {key}"
        await until(lambda: _is_known(client))
        mine = await client.start("call-of-the-shop")

        await visit.go()
        await visit.sign_in(key)
        await page.get_by_role("article", name="Session call-of-the-shop").wait_for()
        assert "call-of-another-app" not in await page.content()
        await visit.go(f"?recording={others['id']}")
        await page.get_by_text("There is none of this address").wait_for()
        assert "call-of-another-app" not in await page.content()
        await page.get_by_role("link", name="Live", exact=True).click()
        await page.get_by_role("article", name="Session call-of-the-shop").wait_for()

        await asyncio.to_thread(asyncio.run, revoke_key("shop", "main", settings, out))
        await page.get_by_text("You are not signed in any more").wait_for()
        assert await visit.barriers() == []
        for where in ("call-of-the-shop", str(mine["id"])):
            assert where not in await page.content()
        assert await page.title() == "Sign in - wavstream"
        # Who signs in next, in the same page, sees his own from the first moment on.
        await page.evaluate(
            "() => { window.shown = ''; new MutationObserver(() => { shown += document.body.innerText; })"
            ".observe(document.body, {subtree: true, childList: true, characterData: true}); }"
        )
        await visit.sign_in(KEY)
        await page.get_by_role("article", name="Session call-of-another-app").wait_for()
        assert "call-of-the-shop" not in await page.evaluate("shown")


async def _is_known(client: Recorder) -> bool:
    return (await client.http.get("/v1/sessions")).status_code == 200


async def test_a_search_that_has_not_seen_all_says_so_and_leads_on(chrome: Browser, tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), visiting(chrome, client.base_url) as visit:
        page = visit.page
        await recorded(client, "shop-1", 0.5)

        async def answer(route: Route) -> None:
            if "cursor=" in route.request.url:
                await route.continue_(url=re.sub(r"&cursor=[^&]*", "", route.request.url))
            else:
                await route.fulfill(json={"data": [], "next_cursor": "MTc5"})

        await page.route("**/v1/recordings?*", answer)
        await visit.go("?view=recordings&q=shop")
        await page.get_by_text("Nothing was found so far").wait_for()
        assert await page.get_by_text("No recording fits").count() == 0
        assert await visit.barriers() == []
        await page.get_by_role("link", name="look further back").click()
        await expect(page.locator("tbody tr")).to_have_count(1)
        assert "cursor=MTc5" in page.url
        assert "q=shop" in page.url


async def test_what_a_peer_wrote_is_text_whatever_it_is(chrome: Browser, tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), visiting(chrome, client.base_url) as visit:
        page = visit.page
        recording_id = await recorded(client, metadata={NASTY: NASTY + "x" * 3_900, "<b>": "\u202etxt.exe"})
        announced = {"session_id": NEVER, "from": "+1", "to": "<img src=x onerror=window.attacked=1>" + "9" * 80}
        assert (await client.http.post("/v1/sessions", json=announced)).status_code == 201
        await visit.go()
        await expect(page.get_by_role("article")).to_contain_text(["<img src=x onerror"])
        assert await page.evaluate("window.attacked") is None
        assert await page.locator("main img, main script").count() == 0
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert await visit.barriers() == []
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


async def test_webhooks_that_were_given_up_are_read_and_sent_again(chrome: Browser, tmp_path: Path) -> None:
    async def refuse(_: Received) -> Answer:
        return Answer(status=500)

    admin_key, key = "key-of-the-administrators", "the-key-of-the-shop-app"

    async def register(client: Recorder, **webhook: object) -> None:
        body = {"api_key": key, "rate_limit": 0, **webhook}
        answer = await client.http.post("/admin/apps/shop", json=body, headers={"X-Admin-API-Key": admin_key})
        assert answer.status_code == 200, answer.text

    settings: dict[str, Any] = {
        "admin_api_key": SecretStr(admin_key),
        "webhooks": WebhookSettings(allow_http=True, allow_localhost=True),
    }
    async with (
        Receiver(refuse) as receiver,
        recorder(tmp_path, **settings) as (client, _),
        visiting(chrome, client.base_url) as visit,
    ):
        page = visit.page
        webhook = {"webhook_url": receiver.url, "events": ["recording.failed"]}
        await register(client, **webhook)
        client.http.headers["Authorization"] = f"Bearer {key}"
        await client.act(await client.start(NEVER), "stop")
        await receiver.wait_for(1)
        await visit.go("?view=letters")
        await visit.sign_in(key)
        await page.get_by_text("There is none").wait_for()
        await register(client)  # without an address it is given up at once

        async def is_there() -> bool:
            await page.get_by_role("link", name="Recordings").click()
            await page.get_by_role("link", name="Dead letters").click()
            return await page.get_by_text("the app has no webhook URL").count() > 0

        await until(is_there)
        await page.get_by_role("button", name="Show its body").click()
        await expect(page.locator("pre")).to_contain_text("recording.failed")
        assert await page.evaluate("window.attacked") is None
        assert await visit.barriers() == []
        receiver.answer = None
        await register(client, **webhook)
        before = len(receiver.requests)
        await page.get_by_role("button", name="Send again").click()
        await page.get_by_text("1 webhook is on the way again").wait_for()
        *_, again = await receiver.wait_for(before + 1)
        assert again.message == receiver.requests[0].message
        await page.get_by_text("There is none").wait_for()


# ---- every screen, every browser -------------------------------------------------------------------------------------


async def test_it_fits_every_screen_by_day_and_by_night(chrome: Browser, tmp_path: Path) -> None:
    small, large = {"width": 360, "height": 640}, {"width": 3840, "height": 2160}
    async with recorder(tmp_path) as (client, _), visiting(chrome, client.base_url) as visit:
        page = visit.page
        recording_id = await recorded(client, "a-session-with-a-name-that-is-as-long-as-it-can-be-" + "x" * 60)
        async with call(client, a=tone(LEFT_HZ, 120), b=tone(RIGHT_HZ, 120)):
            for where, sign in (
                ("", "[data-code=not_recorded]"),
                ("?view=recordings", "tbody tr"),
                (f"?recording={recording_id}", ".player"),
                ("?view=help", "#away"),
            ):
                await visit.go(where)
                await page.locator(sign).first.wait_for()
                for size, scheme in ((small, "dark"), (small, "light"), (large, "light"), (large, "dark")):
                    await page.set_viewport_size(size)  # type: ignore[arg-type]
                    await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), where
                    if (size is small) == (scheme == "dark"):
                        assert await visit.barriers() == [], where
                    if size is small and scheme == "dark" and not where:
                        await visit.picture("phone")


async def test_a_browser_that_is_offered_what_the_page_may_not_load_loads_nothing(
    chrome: Browser, tmp_path: Path
) -> None:
    async with recorder(tmp_path) as (client, _), visiting(chrome, client.base_url) as visit:
        await visit.go()
        await visit.page.get_by_text("Nothing is live").wait_for()
        visit.allowed += ["Loading the image", "Executing inline script", "Failed to load"]
        await visit.page.evaluate(
            "() => { const one = document.createElement('script'); one.textContent = 'window.attacked = 1';"
            " document.body.append(one); }"
        )
        assert await visit.page.evaluate("window.attacked") is None


async def test_the_page_of_the_api_opens_an_operation_and_tries_it(chrome: Browser, tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), visiting(chrome, client.base_url) as visit:
        page = visit.page
        await client.start("call-77")
        await visit.go("../docs")
        operation = page.locator("#operations-recordings-listRecordings")
        await operation.get_by_role("button").first.dispatch_event(
            "click"
        )  # a click would wait for its change of address
        await operation.get_by_role("button", name="Try it out").click()
        await operation.get_by_role("button", name="Execute").click()
        await expect(operation.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
        await expect(operation.locator(".live-responses-table")).to_contain_text("call-77")
