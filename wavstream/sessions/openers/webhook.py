"""The opener ``webhook``: posts to the operator's URL that a stream is to be opened, or closed.

The receiver has its media server open the WebSocket at ``media_url``. The URL comes from the settings and not from an
app, so any host is allowed. Redirects are not followed: the message carries a token.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import msgspec
import structlog

from wavstream.errors import NotFound, OpenerFailed
from wavstream.model.app import app_name
from wavstream.model.ids import new_id
from wavstream.sessions.openers.base import OpenRequest

Sign = Callable[[str, bytes], Mapping[str, str]]
"""Makes the headers that sign a message, from (message id, body)."""

RETRY_WAITS_S = (0.1, 0.5)
"""Waits before further attempts, after a connection that failed."""
LOOK_S = 5.0
"""How often a receiver that cannot be reached is looked for: a connection is made, and ended without a word."""

log = structlog.get_logger(__name__)


class WebhookOpener:
    """Posts ``stream.open`` and ``stream.close``; an async context manager."""

    def __init__(
        self, *, url: str, sign: Sign, timeout_s: float = 5.0, retry_waits_s: Sequence[float] = RETRY_WAITS_S
    ) -> None:
        self._url = url
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        self._failure: str | None = "nobody has looked yet"
        """Why it could not be reached the last time; None: it could."""
        self._has_looked = False
        self._look_again = asyncio.Event()
        self._sign = sign
        self._timeout_s = timeout_s
        self._retry_waits_s = retry_waits_s

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            headers={"Content-Type": "application/json"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._looking = asyncio.create_task(self._look(), name="look for the opener's webhook")
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._looking
        await self._session.close()

    @property
    def trouble(self) -> str | None:
        """Why the receiver cannot be reached, and what to look at; None: it can, or nobody has looked yet."""
        if self._failure is None or not self._has_looked:
            return None
        where = f"{self._host}:{self._port}"
        return f"the opener's webhook at {where} cannot be reached ({self._failure}): look at it, and at opener.url"

    async def open(self, request: OpenRequest) -> None:
        """Post ``stream.open``; a 404 means that the receiver has no such session."""
        status = await self._post(
            {
                "event": "stream.open",
                "session_id": request.session_id,
                "app_id": request.app_id,
                "recording_id": request.recording_id,
                "media_url": request.media_url,
                "stream_token": request.stream_token,
                "expires_at": request.expires_at.astimezone(UTC),
            }
        )
        if status == HTTPStatus.NOT_FOUND:
            raise NotFound("the media server has no such session")
        self._check(status)

    async def close(self, *, app_id: str, session_id: str) -> None:
        """Post ``stream.close``; a 404 counts as success."""
        status = await self._post({"event": "stream.close", "session_id": session_id, "app_id": app_name(app_id)})
        if status != HTTPStatus.NOT_FOUND:
            self._check(status)

    def _check(self, status: int) -> None:
        if not 200 <= status < 300:
            raise OpenerFailed(f"the opener's webhook answered {status}")

    async def _post(self, message: Mapping[str, Any]) -> int:
        """Post the message with the same id at every attempt, and return the status; the body is not read."""
        message_id = new_id()
        body = msgspec.json.encode(message)
        headers = self._sign(message_id, body)
        waits = iter(self._retry_waits_s)
        while True:
            try:
                async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as answer:
                    self._set_failure(None)
                    return answer.status
            except TimeoutError as error:
                self._look_again.set()  # it is slow, or its host is gone
                raise OpenerFailed(f"the opener's webhook did not answer within {self._timeout_s:g} s") from error
            except aiohttp.ClientConnectionError as error:
                wait_s = next(waits, None)
                if wait_s is None:
                    self._set_failure(str(error))
                    raise OpenerFailed(f"the opener's webhook cannot be reached: {error}") from error
            except aiohttp.ClientError as error:
                raise OpenerFailed(f"the opener's webhook does not speak HTTP: {error}") from error
            await asyncio.sleep(wait_s)

    async def _look(self) -> None:
        """Look for the receiver at the start, and again and again from a failure until it is there."""
        while True:
            try:
                async with asyncio.timeout(self._timeout_s):
                    _, writer = await asyncio.open_connection(self._host, self._port)
            # A TimeoutError is an OSError; a host that cannot be a name, such as "a..b", is a UnicodeError.
            except (OSError, UnicodeError) as error:
                self._set_failure(str(error) or "no answer")
                await asyncio.sleep(LOOK_S)
            else:
                writer.close()
                self._set_failure(None)
                await self._look_again.wait()
                await asyncio.sleep(LOOK_S)

    def _set_failure(self, failure: str | None) -> None:
        """Note how it is; a line of the log where it is another than before, whatever the words of a failure."""
        is_news = (failure is None) != (self._failure is None) or not self._has_looked
        self._failure, self._has_looked = failure, True
        if failure is None:
            self._look_again.clear()
        else:
            self._look_again.set()
        if is_news and failure is None:
            log.info("opener_reached", host=self._host, port=self._port)
        elif is_news:
            log.warning("opener_unreachable", host=self._host, port=self._port, reason=failure)
