"""The cookie of the console in a request: when it counts, and for whom. For the rules see ``access.console_pass``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from wavstream.access.authenticator import Authenticator, Caller
from wavstream.access.console_pass import HEADER, ConsolePasses, is_from_our_page
from wavstream.errors import Forbidden

_READS = ("GET", "HEAD")


class Cookies:
    """Finds out who asks by a cookie."""

    def __init__(
        self,
        passes: ConsolePasses,
        *,
        authenticator: Authenticator,
        public_url: str,
        now: Callable[[], datetime],
    ) -> None:
        self._passes = passes
        self._authenticator = authenticator
        self._public_url = public_url
        self._now = now

    def caller(self, method: str, headers: Headers) -> Caller | None:
        """Return who asks by a cookie; None: nobody does. Raise Forbidden for a change that is not our page's."""
        shown = self._passes.read(headers.get("cookie"), now=self._now())
        if shown is None or not self._authenticator.is_good(shown.key_id):
            return None
        if method not in _READS:
            check_writer(headers, self._public_url)
        elif not is_of_our_page(headers, self._public_url):
            return None
        return Caller(shown.app_id, shown.key_id)


def check_writer(headers: Headers, public_url: str) -> None:
    """Raise Forbidden unless our own page asks for a change by its cookie, or for one."""
    if HEADER not in headers:
        raise Forbidden("Send the header X-Wavstream-Console: 1 with whatever changes something by the cookie.")
    if not is_of_our_page(headers, public_url):
        raise Forbidden("Another page than the console of this server asks: the cookie is not for it.")


def is_of_our_page(headers: Headers, public_url: str) -> bool:
    """Return whether a request comes from our own page."""
    hosts = {headers.get("host", ""), urlsplit(public_url).netloc}
    return is_from_our_page(site=headers.get("sec-fetch-site"), origins=headers.getlist("origin"), hosts=hosts)
