"""How long somebody waits for the console: its first paint, a recording of four hours opened, a second sought in it.

    python -m bench.painting [--hours 4] [--rounds 5]

A real browser (Debian's Chromium, by Playwright) on loopback, with an empty cache for each round. A recording is opened
when its waveform is drawn and its audio can be played; a second is sought when the audio element has it. Exits 1 where
a median is more than it may be.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

from bench.long_call import FED_FAST, long_call
from tests.support.browser import chromium
from tests.support.recorder import Recorder, ServerProcess

PAINT_MS, OPEN_MS, SEEK_MS = 300.0, 500.0, 200.0

_PAINTED = """() => new Promise((done) => {
  const found = () => performance.getEntriesByName('first-contentful-paint')[0];
  if (found()) return done(found().startTime);
  new PerformanceObserver(() => found() && done(found().startTime)).observe({type: 'paint', buffered: true});
})"""
_HAND = """
window.element = null;
const made = document.createElement;
document.createElement = function (name, ...more) {
  const element = made.call(this, name, ...more);
  if (String(name).toLowerCase() === 'audio' && !window.element) window.element = element;
  return element;
};
"""
"""A hand on the element that plays; it is in no document."""
_OPENED = """() => new Promise((done) => {
  const look = () => {
    const wave = [...document.querySelectorAll('div')].some((each) => each.shadowRoot?.querySelector('canvas'));
    if (wave && window.element && window.element.readyState >= 1) done(performance.now());
    else requestAnimationFrame(look);
  };
  look();
})"""
_SOUGHT = """(second) => new Promise((done) => {
  const began = performance.now();
  window.element.addEventListener('seeked', () => done(performance.now() - began), {once: true});
  window.element.currentTime = second;
})"""


async def one_round(browser: Browser, base_url: str, recording_id: str, length_s: float) -> tuple[float, float, float]:
    """Return milliseconds of a first paint, of an opened recording, and the median of ten seconds sought in it."""
    context = await browser.new_context()
    try:
        page: Page = await context.new_page()
        await page.goto(f"{base_url}/console/")
        paint_ms: float = await page.evaluate(_PAINTED)
        page = await context.new_page()
        await page.add_init_script(_HAND)
        await page.goto(f"{base_url}/console/?recording={recording_id}", wait_until="commit")
        open_ms: float = await page.evaluate(_OPENED)
        sought = [await page.evaluate(_SOUGHT, length_s * share / 11) for share in (7, 2, 9, 4, 1, 10, 3, 8, 5, 6)]
        return paint_ms, open_ms, statistics.median(sought)
    finally:
        await context.close()


async def long_recording(recorder: Recorder, hours: float) -> dict[str, Any]:
    """Record a call of so many hours, fed as fast as it is read; return it as it is in the end."""

    def feed() -> None:
        with long_call(recorder.base_url, round(hours * 3600)) as call:
            call.stop_ms()

    await asyncio.to_thread(feed)
    found: dict[str, Any] = (await recorder.http.get("/v1/recordings")).json()["data"][0]
    return found


async def measure(hours: float, rounds: int) -> bool:
    """Print the figures; return whether they hold."""
    with tempfile.TemporaryDirectory() as name:
        async with ServerProcess(Path(name), **FED_FAST) as server:
            recorder = await server.start()
            recording = await long_recording(recorder, hours)
            async with async_playwright() as playwright:
                started = await playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
                found = [
                    await one_round(started, recorder.base_url, recording["id"], recording["duration_ms"] / 1000)
                    for _ in range(rounds)
                ]
                await started.close()
            await recorder.http.aclose()
    holds = True
    for name, most_ms, all_ms in zip(
        ("first paint", f"a recording of {hours:g} h opened", "a second sought in it"),
        (PAINT_MS, OPEN_MS, SEEK_MS),
        zip(*found, strict=True),
        strict=True,
    ):
        median = statistics.median(all_ms)
        holds &= median < most_ms
        print(f"{name}: {median:.0f} ms ({min(all_ms):.0f} to {max(all_ms):.0f}), must be under {most_ms:.0f}")
    return holds


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    raise SystemExit(0 if asyncio.run(measure(given.hours, given.rounds)) else 1)


if __name__ == "__main__":
    main()
