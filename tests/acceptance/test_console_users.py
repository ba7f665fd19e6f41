"""The console in the hands of its users: many tabs, other zones, hostile names, two at once, a server that is away."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect
from pydantic import SecretStr

from tests.acceptance.test_console_page import EARS, KEY, LEFT_HZ, READ_BACK, RIGHT_HZ, call, recorded
from tests.support.browser import browser, visiting
from tests.support.recorder import ServerProcess, recorder
from tests.support.talking import RATE_HZ
from tests.support.tones import tone
from tests.support.waiting import until

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.asyncio(loop_scope="module")]

HIDE = """
window.isHidden = true;
Object.defineProperty(Document.prototype, "hidden", {get: () => window.isHidden});
window.show = (shown) => { window.isHidden = !shown; document.dispatchEvent(new Event("visibilitychange")); };
"""
FAST_TIMERS = "const set = window.setTimeout; window.setTimeout = (then, ms, ...more) => set(then, ms / 20, ...more);"
IMPATIENT = "const timeout = AbortSignal.timeout; AbortSignal.timeout = (ms) => timeout.call(AbortSignal, ms / 20);"
COLOR = """() => {
  const root = document.querySelector(".wave > div").shadowRoot;
  const {data} = (([one]) => one.getContext("2d").getImageData(0, 0, one.width, one.height))(
    root.querySelector(".canvases > div").querySelectorAll("canvas"));
  for (let at = 0; at < data.length; at += 4) if (data[at + 3] === 255) return [...data.slice(at, at + 3)].join();
  return "";
}"""
"""The first color on the waveform."""
EDGE = """() => {
  const canvas = document.querySelector(".chart canvas");
  if (!canvas) return null;
  const {data, width, height} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const line = getComputedStyle(document.querySelector(".chart")).accentColor.match(/\\d+/g).slice(0, 3).map(Number);
  for (let x = width - 1; x > 0; x -= 1) {
    const found = [];
    for (let y = 0; y < height; y += 1) {
      const at = 4 * (y * width + x);
      if (data[at + 3] > 200 && line.every((each, i) => Math.abs(each - data[at + i]) < 40)) found.push(y / height);
    }
    if (found.length) return Math.max(...found);
  }
  return null;
}"""
"""How far down the chart the line of the level ends, 0 to 1."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chrome() -> AsyncIterator[Browser]:
    """Yield the browser, in which each test opens a page of its own."""
    async with browser() as started:
        yield started


def asked_of(page: Page, part: str) -> list[str]:
    """Return a list to which the page's requests of this address are added."""
    found: list[str] = []
    page.on("request", lambda request: found.append(request.url) if part in request.url else None)
    return found


def event(name: str, data: object) -> str:
    return f"event: {name}\nid: x.1\ndata: {json.dumps(data)}\n\n"


# ---- many tabs, other versions ---------------------------------------------------------------------------------------


async def test_a_tab_that_nobody_sees_holds_no_connection_and_is_up_to_date_when_it_is_seen(
    chrome: Browser, tmp_path: Path
) -> None:
    async with recorder(tmp_path) as (client, service), visiting(chrome, client.base_url) as visit:
        page = visit.page
        await page.add_init_script(HIDE + FAST_TIMERS)
        looks = asked_of(page, "/v1/live")
        await visit.go()
        await page.get_by_role("heading", name="Live").wait_for()
        assert looks == []
        await client.start("call-77")
        await page.evaluate("show(true)")
        await page.get_by_role("article", name="Session call-77").wait_for()
        await page.evaluate("show(false)")

        async def is_given_up() -> bool:
            return service.pages.pages == 0

        await until(is_given_up)
        await client.start("call-78")
        await page.evaluate("show(true)")
        await page.get_by_role("article", name="Session call-78").wait_for()
        assert len(looks) == 2


async def test_a_part_of_the_page_that_cannot_be_had_is_said(chrome: Browser, tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), visiting(chrome, client.base_url) as visit:
        page = visit.page
        visit.allowed.append("Failed to load resource")
        recording_id = await recorded(client, length_s=0.5)
        await page.route("**/assets/recording-*.js", lambda route: route.fulfill(status=404))
        await visit.go(f"?recording={recording_id}")
        await page.get_by_text("A part of this page could not be fetched").wait_for()
        assert await visit.barriers() == []
        await page.unroute_all()
        await page.get_by_role("link", name="Load this page again").click()
        await page.get_by_role("button", name="Play", exact=True).wait_for()


async def test_the_page_is_told_who_looks_and_asks_where_a_browser_kept_its_cookie_back(
    chrome: Browser, tmp_path: Path
) -> None:
    async with recorder(tmp_path, api_key=SecretStr(KEY)) as (client, _), visiting(chrome, client.base_url) as visit:
        page = visit.page
        await visit.go()
        await visit.sign_in(KEY)
        await page.get_by_text("Nothing is live").wait_for()
        asked = asked_of(page, "/console/session")
        await page.reload()
        await page.get_by_text("Nothing is live").wait_for()
        assert asked == []

        # A link in a mail: the page itself is asked for without the cookie.
        async def elsewhere(route: Route) -> None:
            await route.fulfill(
                content_type="text/html", body=f"<a href='{client.base_url}/console/?view=recordings'>look</a>"
            )

        await page.route("http://elsewhere.example/", elsewhere)
        await page.goto("http://elsewhere.example/")
        visit.foreign.clear()
        await page.get_by_role("link", name="look").click()
        await page.get_by_text("No recording fits").wait_for()
        assert len(asked) == 1


# ---- searches --------------------------------------------------------------------------------------------------------


async def test_an_address_with_times_finds_the_same_for_a_colleague_in_another_zone(
    chrome: Browser, tmp_path: Path
) -> None:
    async with recorder(tmp_path) as (client, _):
        await recorded(client, length_s=0.5, metadata={"a": "1", "b": "2"})
        await recorded(client, "call-78", length_s=0.5, metadata={"a": "1"})
        async with visiting(chrome, client.base_url, timezone_id="Asia/Tokyo") as visit:
            page = visit.page
            await visit.go("?view=recordings")
            await page.get_by_text("More filters").click()
            await page.get_by_label("From", exact=True).fill("2026-01-02T03:04")
            await page.get_by_label("Metadata").fill("a:1\nb:2")
            await page.get_by_role("button", name="Search").click()
            await expect(page.locator("tbody tr")).to_have_count(1)
            address = page.url
            assert "since=2026-01-01T18%3A04" in address
        async with visiting(chrome, client.base_url, timezone_id="America/New_York") as visit:
            page = visit.page
            asked = asked_of(page, "/v1/recordings?")
            await page.goto(f"{address}&status=available,failed")
            await expect(page.locator("tbody tr")).to_have_count(1)
            await expect(page.get_by_label("From", exact=True)).to_have_value("2026-01-01T13:04")
            await page.get_by_role("button", name="Search").click()  # nothing of it is lost
            await until(lambda: _is(len(asked) == 2))
            assert all("since=2026-01-01T18%3A04%3A00.000Z" in each for each in asked)
            assert all("metadata=a%3A1&metadata=b%3A2" in each and "available%2Cfailed" in each for each in asked)
            assert await visit.barriers() == []


async def _is(answer: bool) -> bool:
    return answer


async def test_a_search_that_is_refused_shows_nothing_of_the_one_before(chrome: Browser, tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), visiting(chrome, client.base_url) as visit:
        page = visit.page
        visit.allowed.append("Failed to load resource: the server responded with a status of 422")
        await recorded(client, length_s=0.5)
        await visit.go("?view=recordings")
        await expect(page.locator("tbody tr")).to_have_count(1)
        await page.get_by_text("More filters").click()
        await page.get_by_label("Metadata").fill("no colon")
        await page.get_by_role("button", name="Search").click()
        await page.get_by_role("alert").filter(has_text="metadata").wait_for()
        await expect(page.locator("tbody tr")).to_have_count(0)
        await page.route(
            "**/v1/recordings?*", lambda route: route.fulfill(body="<h1>Sign in to the guest network</h1>")
        )
        await page.get_by_role("button", name="Search").click()
        await page.get_by_text("answered in its place").wait_for()


# ---- names -----------------------------------------------------------------------------------------------------------


async def test_names_that_cannot_be_seen_or_cover_others_are_shown(chrome: Browser, tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), visiting(chrome, client.base_url) as visit:
        page = visit.page
        for name in ("   ", " call-77", "call\u3164", "a" + "\u0301" * 200, "a  b"):
            await client.start(name)
        await visit.go()
        cards = page.get_by_role("article")
        await expect(cards).to_have_count(5)
        shown = await page.get_by_role("list", name="Sessions").inner_text()
        for wanted in ("␣␣␣", "␣call-77", "call⟨3164⟩", "⟨196 marks⟩", "a  b"):
            assert wanted in shown, wanted
        assert await visit.barriers() == []
        await visit.go("?view=recordings")
        await page.get_by_role("link", name="␣␣␣").click()
        await page.get_by_role("heading", name="␣␣␣").wait_for()
        assert await visit.barriers() == []


# ---- live ------------------------------------------------------------------------------------------------------------


async def test_a_level_is_drawn_as_it_is_now_and_one_that_is_over_is_nobody_elses(
    chrome: Browser, tmp_path: Path
) -> None:
    """Told of a loud leg, then of silence, then of nothing more; then its session ends, and its number comes again."""
    track = {"track": "inbound", "meter": 1, "pace": 1.0, "gaps": 0, "gap_ms": 0, "drift_ppm": 0}
    leg = {
        "leg": "a", "state": "streaming", "dialect": "pcm", "codec": "l16", "rate": 8000, "clock": "arrival",
        "joined_at": None, "silent_because": None, "suspicions": [], "tracks": [track],
    }  # fmt: skip
    session = {
        "session_id": "call-77", "from": None, "to": None, "direction": None, "recordings": [], "legs": [leg],
        "created_at": "2026-11-01T10:00:00.000000Z",
    }  # fmt: skip

    def at(second: int) -> str:
        return f"2026-11-01T10:00:{second:02}.000000Z"

    def told(second: int, level: int | None) -> str:
        return event("meters", {"now": at(second), "legs": [[1, level, level, 1.0, 50, 1.0, None]]})

    begin = event("reset", {"now": at(0), "version": "1", "workers_left_out": []})
    begin += event("sessions", {"now": at(0), "sessions": [session], "gone": []}) + told(0, -3) + event("whole", {})
    then = [begin, told(20, -95), event("sessions", {"now": at(50), "sessions": [], "gone": []})]
    then.append(event("sessions", {"now": at(51), "sessions": [], "gone": ["call-77"]}))
    then.append(event("sessions", {"now": at(52), "sessions": [{**session, "session_id": "call-78"}], "gone": []}))
    step = 0

    async def tell(route: Route) -> None:
        body = "retry: 50\n\n" + (then[step] if step < len(then) else ": nothing\n\n")
        await route.fulfill(body=body, content_type="text/event-stream")

    async with recorder(tmp_path) as (client, _), visiting(chrome, client.base_url) as visit:
        page = visit.page
        visit.allowed.append(READ_BACK)
        await page.route("**/v1/live", tell)
        await visit.go()
        await page.get_by_role("button", name="Levels").click()
        await until(lambda: _edge(page, 0.0, 0.3))
        step = 1
        await until(lambda: _edge(page, 0.36, 1.0))
        step = 2
        await until(lambda: _edge(page, 0.36, 1.0))
        await page.emulate_media(color_scheme="dark")
        await until(lambda: _edge(page, 0.36, 1.0))  # in the color of now
        step = 3
        await expect(page.get_by_role("article")).to_have_count(0)
        step = 4
        await page.get_by_role("article", name="Session call-78").wait_for()
        await expect(page.locator(".db")).to_have_text("nothing")


async def _edge(page: Page, least: float, most: float) -> bool:
    found = await page.evaluate(EDGE)
    return found is not None and least <= float(found) <= most


async def test_a_second_click_is_no_second_recording(chrome: Browser, tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), visiting(chrome, client.base_url) as visit:
        page = visit.page
        async with call(client, a=tone(LEFT_HZ, 60), b=tone(RIGHT_HZ, 60)):
            await visit.go()
            await page.get_by_role("button", name="Record").dblclick()
            await page.get_by_role("link", name="records: wav").first.wait_for()
            assert len((await client.http.get("/v1/recordings")).json()["data"]) == 1


# ---- one recording ---------------------------------------------------------------------------------------------------


async def test_what_somebody_else_erases_neither_sounds_on_nor_stays_in_sight(chrome: Browser, tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), visiting(chrome, client.base_url) as visit:
        page = visit.page
        visit.allowed.append("Failed to load resource: the server responded with a status of 4")
        await page.add_init_script(EARS)
        recording_id = await recorded(client, length_s=20.0, metadata={"customer": "secret-4711"})
        await visit.go(f"?recording={recording_id}")
        await page.get_by_role("button", name="Play", exact=True).click()
        await until(lambda: page.evaluate("heard?.element.currentTime > 0.2"))
        assert (await client.http.delete(f"/v1/recordings/{recording_id}")).status_code == 204
        await page.get_by_role("button", name="Verify").click()
        await page.get_by_text("It is no longer there").wait_for()
        assert await page.evaluate("[heard.element.paused, heard.element.hasAttribute('src')]") == [True, False]
        assert "secret-4711" not in await page.content()
        assert await page.get_by_role("button").count() == 0
        assert await visit.barriers() == []


async def test_a_waveform_takes_the_colors_of_the_night_where_one_is(chrome: Browser, tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), visiting(chrome, client.base_url, color_scheme="light") as visit:
        page = visit.page
        visit.allowed.append(READ_BACK)
        recording_id = await recorded(client, length_s=8.0)
        await visit.go(f"?recording={recording_id}")
        zoom = page.get_by_label("Zoom")
        await zoom.fill("60")
        scrolled = page.locator(".wave .scroll").first
        await scrolled.evaluate("each => { each.scrollLeft = 300 }")
        by_day = await until(lambda: page.evaluate(COLOR))
        await page.emulate_media(color_scheme="dark")

        async def is_another() -> bool:
            found = await page.evaluate(COLOR)
            return bool(found) and found != by_day

        await until(is_another)
        await until(lambda: scrolled.evaluate("each => Math.abs(each.scrollLeft - 300) < 5"))
        await page.locator(".wave [part~=minimap]").wait_for()
        assert await visit.barriers() == []


async def test_a_recording_page_says_that_a_server_stands_still_and_plays_on_with_one_that_came_again(
    chrome: Browser, tmp_path: Path
) -> None:
    async with ServerProcess(tmp_path) as server:
        client = await server.start()
        async with visiting(chrome, client.base_url) as visit:
            page = visit.page
            await page.add_init_script(IMPATIENT)
            recording = await client.start("call-77")
            async with call(client, a=tone(LEFT_HZ, 120), b=np.zeros(RATE_HZ, np.int16)):
                await visit.go(f"?recording={recording['id']}")
                await page.get_by_role("button", name="Play", exact=True).wait_for()
                server.freeze()
                alert = page.get_by_role("alert").filter(has_text="The server does not answer")
                await alert.wait_for()
                server.thaw()
                await expect(alert).to_have_count(0)
            await client.http.aclose()
