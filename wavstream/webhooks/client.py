"""HTTP requests to a receiver: a POST, and whether the receiver took it.

The status is the answer: 2xx means taken, everything else not. Redirects are not followed, since nobody registered
where they lead. The body behind the status is read only so that the connection can be used again, and no further than
``MAX_ANSWER_BYTES``. All of it ends after ``TIMEOUT_S``.

Each app has connections of its own, so that none takes those of another; they are kept for ``KEEPALIVE_S`` between two
requests. An address is checked when a connection to it is made, and stays the same for as long as that is kept.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from wavstream import __version__
from wavstream.webhooks.resolver import checked_socket
from wavstream.webhooks.target import check_url

TIMEOUT_S = 5.0
MAX_BODY_BYTES = 65_536
MAX_ANSWER_BYTES = 65_536
KEEPALIVE_S = 4.0
"""Less than the 5 s after which Node.js and uvicorn close a connection; one closed under a request costs a try."""
_MAX_ERROR_CHARACTERS = 200


class DeliveryFailed(Exception):
    """The receiver did not take the message, or could not be asked; the text says why."""


class WebhookClient:
    """The connections to the receiver of one app; an asynchronous context that closes them."""

    def __init__(
        self,
        *,
        resolver: AbstractResolver,
        tls: ssl.SSLContext,
        allow_http: bool,
        allow_localhost: bool,
        max_connections: int,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._allow_http = allow_http
        self._allow_localhost = allow_localhost
        self._timeout_s = timeout_s
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=resolver,
                use_dns_cache=False,
                socket_factory=checked_socket(allow_localhost=allow_localhost),
                ssl=tls,
                limit=max_connections,
                keepalive_timeout=KEEPALIVE_S,
            ),
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            headers={"Content-Type": "application/json", "User-Agent": f"wavstream/{__version__}"},
            skip_auto_headers=("Accept-Encoding",),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._session.close()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> None:
        """Return when the receiver has taken the message; raise DeliveryFailed."""
        if len(body) > MAX_BODY_BYTES:
            raise DeliveryFailed(f"the message has {len(body)} bytes, more than the {MAX_BODY_BYTES} that are sent")
        status = 0
        try:
            check_url(url, allow_http=self._allow_http, allow_localhost=self._allow_localhost)
            # Encoded already: what was registered and checked is what is asked for.
            target = URL(url, encoded=True)
            async with self._session.post(target, headers=headers, data=body, allow_redirects=False) as answer:
                status = answer.status
                await _read(answer.content)
        except TimeoutError as error:
            if not status:
                raise DeliveryFailed(f"no answer within {self._timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if not status:
                raise DeliveryFailed(str(error)[:_MAX_ERROR_CHARACTERS] or type(error).__name__) from error
        if not 200 <= status < 300:
            raise DeliveryFailed(
                f"answered {status}" + (", and redirects are not followed" if 300 <= status < 400 else "")
            )


async def _read(content: aiohttp.StreamReader) -> None:
    received_bytes = 0
    async for part in content.iter_any():
        received_bytes += len(part)
        if received_bytes > MAX_ANSWER_BYTES:
            return
