"""The console as somebody sees it: a real browser looks at a real server while calls come in."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from tests.support.browser import browser
from tests.support.recorder import recorder
from tests.support.speech import noise
from tests.support.talking import RATE_HZ, say, speak

SILENCE = np.zeros(RATE_HZ, np.int16)


async def test_a_call_is_seen_while_it_is_recorded_and_one_that_sends_silence_is_explained(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), browser(client.base_url) as visit:
        page = visit.page
        await visit.go()
        await page.get_by_text("Nothing is live").wait_for()
        recording = await client.start("call-77")
        async with client.connect("/media/pcm/call-77/a") as loud, client.connect("/media/pcm/call-77/b") as silent:
            talking = [
                asyncio.create_task(speak(loud, noise(30))),
                asyncio.create_task(speak(silent, np.zeros(30 * RATE_HZ, np.int16))),
            ]
            meter = page.get_by_role("meter", name="Level of leg a")
            await meter.and_(page.locator("[aria-valuenow^='-1']")).wait_for()
            await page.locator("[data-code=frames_of_silence]").wait_for()
            await page.screenshot(path="/tmp/pw/live.png", full_page=True)
            print(await visit.barriers())
            await page.get_by_role("link", name="records").click()
            await page.locator(".wave").wait_for()
            await page.get_by_role("button", name="Play", exact=True).click()
            await asyncio.sleep(3)
            print(await page.locator(".now").inner_text())
            await page.screenshot(path="/tmp/pw/rec.png", full_page=True)
            print(await visit.barriers())
            for each in talking:
                each.cancel()
        print(visit.complaints)
        print(await page.locator(".now").inner_text())
