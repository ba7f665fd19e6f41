"""What was said, as somebody reads it in the console beside the sound, asks for it, and looks for it in all calls."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import soundfile
from playwright.async_api import Browser, Page, Route, expect

from tests.support.browser import browser, visiting
from tests.support.receiver import Answer, Received, Receiver
from tests.support.recorder import Recorder, recorder
from tests.support.waiting import WAIT_S
from wavstream.settings import TranscriptionSettings
from wavstream.simulator.caller import Leg
from wavstream.transcription.engines.base import LONGEST_WORD

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.asyncio(loop_scope="module")]

VOICES = Path(__file__).parents[2] / "wavstream/simulator/voices"
RATE_HZ = 8_000
SAID = (
    "good",
    "morning",
    "<script>window.attacked=1</script>",
    "\u05e9\u05dc\u05d5\u05dd",
    "\u202efriday",
    "x" * LONGEST_WORD,
)
"""Markup, Hebrew, what turns the direction around, and the longest word that there may be."""
SPOKEN = (
    "good morning front desk how may I help",
    "hello I would like to move my visit to Friday",
    "Friday at ten is free shall I book it",
    "yes please thank you goodbye",
)
"""What is said in the picture of the documents."""
HAND = """
const made = document.createElement;
document.createElement = function (name, ...more) {
  const element = made.call(this, name, ...more);
  if (String(name).toLowerCase() === 'audio' && !window.element) window.element = element;
  return element;
};
"""
"""A hand on the element that plays; it is in no document."""
PLAYS = """(word) => new Promise((done) => {
  const played = `[data-word="${word}"][aria-current]`;
  const look = () => (document.querySelector(played) ? done() : requestAnimationFrame(look));
  look();
})"""
"""Waits until a word is the one that plays."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chrome() -> AsyncIterator[Browser]:
    """Yield the browser, in which each test opens a page of its own."""
    async with browser() as started:
        yield started


async def recorded(client: Recorder, session_id: str = "call-77") -> str:
    """Record a call of two that speak; the recording's id."""
    recording = await client.start(session_id)
    legs = []
    for name, leg in (("caller", "a"), ("callee", "b")):
        samples, _ = soundfile.read(VOICES / f"{name}.wav", dtype="int16")
        legs.append(Leg(leg, np.asarray(samples[:, None]), RATE_HZ))
    await client.play_at_once(session_id, *legs)
    await client.until(recording)
    return str(recording["id"])


def heard(*words: str) -> Answer:
    """Return the answer of a server that transcribes: a word each third of a second."""
    timed = [{"word": word, "start": 0.3 * at, "end": 0.3 * at + 0.3} for at, word in enumerate(words)]
    return Answer(body=json.dumps({"text": " ".join(words), "words": timed}).encode())


async def at_s(page: Page) -> float:
    found: float = await page.evaluate("element.currentTime")
    return found


def segment(at: int, text: str) -> dict[str, Any]:
    """Return what one of two says in turn, in a stretch of 3.6 s."""
    start_ms = 3_600 * at
    words = [
        {"word": word, "start_ms": start_ms + 290 * number, "end_ms": start_ms + 290 * number + 280}
        for number, word in enumerate(text.split())
    ]
    return {"channel": (at + 1) % 2, "start_ms": start_ms, "end_ms": start_ms + 3_600, "text": text, "words": words}


async def test_a_transcript_is_asked_for_fails_with_its_reason_is_read_searched_and_leads_to_each_word(
    chrome: Browser, tmp_path: Path
) -> None:
    is_refused = True

    async def answer(_request: Received) -> Answer:
        return Answer(401, body=b"who are you?") if is_refused else heard(*SAID)

    async with Receiver(answer) as receiver:
        engine = TranscriptionSettings.model_validate(
            {"engine": "http", "nice": 0, "url": receiver.url, "allow_http": True, "allow_localhost": True}
        )
        async with recorder(tmp_path, transcription=engine) as (client, _), visiting(chrome, client.base_url) as visit:
            page = visit.page
            await page.add_init_script(HAND)
            recording_id = await recorded(client)
            await visit.go(f"?recording={recording_id}")
            part = page.get_by_role("region", name="What was said")
            await part.get_by_text("There is no transcript").wait_for()
            assert await visit.barriers() == []
            await part.get_by_role("button", name="Make a transcript").click()
            await part.get_by_text("No transcript could be made").wait_for()
            await part.get_by_text("answered 401").wait_for()
            assert await visit.barriers() == []
            is_refused = False
            await part.get_by_role("button", name="Try again").click()

            words = part.locator("[data-word]")
            await words.first.wait_for()
            assert await visit.barriers() == []
            made = (await client.http.get(f"/v1/recordings/{recording_id}/transcript")).json()
            first = made["segments"][0]["words"]
            assert [await words.nth(at).inner_text() for at in range(5)] == [*SAID[:4], "⟨202E⟩friday"]
            assert await page.evaluate("window.attacked === undefined")
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            for at in (3, 1):
                await words.nth(at).click()
                await expect(words.nth(at)).to_have_attribute("aria-current", "true")
                assert await at_s(page) == pytest.approx(first[at]["start_ms"] / 1000, abs=0.01)
            await page.keyboard.press("ArrowRight")
            await expect(words.nth(2)).to_be_focused()
            await page.keyboard.press("Enter")
            await expect(words.nth(2)).to_have_attribute("aria-current", "true")
            assert await at_s(page) == pytest.approx(first[2]["start_ms"] / 1000, abs=0.01)
            await page.get_by_role("button", name="Play", exact=True).click()
            await asyncio.wait_for(page.evaluate(PLAYS, "0:3"), WAIT_S)
            await page.get_by_role("button", name="Pause", exact=True).click()

            field = part.get_by_label("Find in it")
            await field.fill("GOOD mor")
            hits = len(made["segments"])
            await expect(part.get_by_text(f"{hits} hits")).to_be_visible()
            for number, segment in enumerate(made["segments"][:2], start=1):
                await field.press("Enter")
                await expect(part.get_by_text(f"{number} of {hits}")).to_be_visible()
                assert await at_s(page) == pytest.approx(segment["start_ms"] / 1000, abs=0.01)
            await field.fill("never")
            await expect(part.get_by_text("It was not said.")).to_be_visible()
            async with page.expect_download() as download:
                await part.get_by_role("link", name="SubRip").click()
            saved = await (await download.value).path()
            assert "good morning" in await asyncio.to_thread(saved.read_text)

            await visit.go("?view=recordings")
            await page.get_by_label("Said in it").fill("Morning good")
            await page.get_by_role("button", name="Find what was said").click()
            found = page.get_by_role("article", name=f"Recording {recording_id}")
            await found.get_by_role("listitem").first.wait_for()
            assert await visit.barriers() == []
            await found.get_by_role("link").nth(2).click()
            await words.first.wait_for()
            assert await at_s(page) == pytest.approx(made["segments"][1]["start_ms"] / 1000, abs=0.01)


async def test_words_without_spaces_are_shown_without_and_found_over_several(chrome: Browser, tmp_path: Path) -> None:
    text = "\u6211\u5728\u5317\u4eac\u7528iPhone\u6253\u7535\u8bdd\u3002\u5317\u4eac\u597d"

    async def answer(_request: Received) -> Answer:
        return Answer(body=json.dumps({"text": text}).encode())

    async with Receiver(answer) as receiver:
        engine = TranscriptionSettings.model_validate(
            {"engine": "http", "nice": 0, "url": receiver.url, "allow_http": True, "allow_localhost": True}
        )
        async with recorder(tmp_path, transcription=engine) as (client, _), visiting(chrome, client.base_url) as visit:
            recording_id = await recorded(client)
            await visit.go(f"?recording={recording_id}")
            part = visit.page.get_by_role("region", name="What was said")
            await part.get_by_role("button", name="Make a transcript").click()
            await part.locator("[data-word]").first.wait_for()
            made = (await client.http.get(f"/v1/recordings/{recording_id}/transcript")).json()
            assert (await part.locator(".spoken").first.inner_text()).strip() == text
            for sought, hits in (("\u5317\u4eac", 2), ("\u7528iphone\u6253", 1), ("\u7535\u8bdd\u3002\u5317", 1)):
                await part.get_by_label("Find in it").fill(sought)
                count = hits * len(made["segments"])
                await expect(part.get_by_text(f"{count} hits")).to_be_visible()
            await part.get_by_label("Find in it").fill("\u4eac\u5317")
            await expect(part.get_by_text("It was not said.")).to_be_visible()


async def test_of_four_hours_of_words_only_those_in_sight_are_in_the_document(chrome: Browser, tmp_path: Path) -> None:
    segments = [
        segment(at, SPOKEN[at] if at < len(SPOKEN) else "x" * 4_096 if at == len(SPOKEN) else f"so word{at} " * 6)
        for at in range(4_000)
    ]
    speakers = [
        {"channel": channel, "side": side, "legs": [leg]}
        for channel, side, leg in ((0, "left", "a"), (1, "right", "b"))
    ]
    document = {"language": "en-US", "engine": "http", "timing": "word", "speakers": speakers, "segments": segments}
    work = {
        "status": "done",
        "progress": 100,
        "language": "en-US",
        "engine": "http",
        "attempts": 0,
        "error": None,
        "done_at": "2026-11-01T10:00:00Z",
    }

    async with recorder(tmp_path) as (client, _), visiting(chrome, client.base_url) as visit:
        page = visit.page

        async def answer(route: Route) -> None:
            await route.fulfill(json=document if route.request.url.endswith("/transcript") else work)

        await page.route("**/transcript", answer)
        await page.route("**/transcription", answer)
        recording_id = await recorded(client)
        await visit.go(f"?recording={recording_id}")
        words = page.locator("[data-word]")
        await words.first.wait_for()
        assert await words.count() < 2_000
        await page.locator("[data-word='1:5']").click()
        await expect(page.locator("[data-word='1:5']")).to_have_attribute("aria-current", "true")
        await visit.picture("transcript")
        await page.get_by_label("Find in it").fill("word3990")
        await page.get_by_label("Find in it").press("Shift+Enter")
        await expect(page.locator("[data-word='3990:11']")).to_be_in_viewport()
        assert await words.count() < 2_000
        await page.locator("[data-word='3990:11']").focus()
        await page.keyboard.press("Home")
        await expect(page.locator("[data-word='0:0']")).to_be_focused()
        await expect(page.locator("[data-word='0:0']")).to_be_in_viewport()
