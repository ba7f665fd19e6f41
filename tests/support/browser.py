"""A real browser that looks at the console, and complains of all that a page must not do.

The browser is Debian's Chromium: Playwright's own downloads are not needed. Where there is none, tests are skipped and
say so; with ``CI`` in the environment they fail instead. It takes longer to start than most tests do: one is enough for
a module. Each visit has cookies and a cache of its own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright, expect

from tests.support.waiting import WAIT_S

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable")
_WAIT_MS = 1000 * WAIT_S
_PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
_AXE = resources.files("axe_playwright_python").joinpath("axe.min.js")
_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


class Visit:
    """A page that is looked at, and what was wrong with it."""

    def __init__(self, page: Page, base_url: str) -> None:
        self.page = page
        self.base_url = base_url
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self.allowed: list[str] = []
        """Beginnings of complaints that belong to the situation."""
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(f"not caught: {error}"))
        page.on("request", self._asked)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.text} {message.location.get('url', '')}")

    def _asked(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and not request.url.startswith(self.base_url + "/"):
            self.foreign.append(request.url)

    async def go(self, where: str = "") -> None:
        """Open an address of the console."""
        await self.page.goto(f"{self.base_url}/console/{where}")

    async def sign_in(self, key: str) -> None:
        """Sign in with a key, on the page that asks for one."""
        await self.page.get_by_label("Key").fill(key)
        await self.page.get_by_role("button", name="Sign in").click()

    async def barriers(self) -> list[str]:
        """Return what axe-core finds on the page as it is now."""
        before = len(self.complaints)
        if await self.page.evaluate("typeof axe") == "undefined":
            await self.page.evaluate(_AXE.read_text())
        found: dict[str, Any] = await self.page.evaluate(
            "tags => axe.run(document, {preload: false, runOnly: {type: 'tag', values: tags}})", _TAGS
        )
        # It makes styles of its own to measure by, which the page's policy does not let it.
        self.complaints[before:] = [each for each in self.complaints[before:] if "inline style" not in each]
        return [
            f"{each['id']}: {node['html']} {node.get('failureSummary', '')}"
            for each in found["violations"]
            for node in each["nodes"]
        ]

    async def picture(self, name: str) -> None:
        """Keep how the page looks for the documents, where the environment asks for it (`make pictures`)."""
        if os.environ.get("CONSOLE_PICTURES"):
            await self.page.screenshot(path=_PICTURES / f"{name}.png", full_page=True)

    def check(self) -> None:
        """Assert that the page asked nobody else and complained of nothing."""
        assert not self.foreign, self.foreign
        rest = [each for each in self.complaints if not each.startswith(tuple(self.allowed) or ("\0",))]
        assert not rest, rest


def chromium() -> str:
    """Return the browser's path; skip the test where there is none."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        reason = "no Chromium is installed (Debian: apt-get install chromium), so nobody looks at the console"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Yield a browser that nobody looks with yet."""
    path = chromium()
    expect.set_options(timeout=_WAIT_MS)
    async with async_playwright() as playwright:
        # As root, which builds often are, its sandbox cannot be made; the only page is ours.
        started = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--mute-audio"])
        try:
            yield started
        finally:
            await started.close()


@asynccontextmanager
async def visiting(by: Browser, base_url: str, **context: Any) -> AsyncIterator[Visit]:
    """Yield a visit; what it must not do is asserted at its end."""
    looks = await by.new_context(**context)
    try:
        page = await looks.new_page()
        page.set_default_timeout(_WAIT_MS)
        visit = Visit(page, base_url)
        yield visit
        visit.check()
    finally:
        await looks.close()
