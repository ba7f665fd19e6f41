"""Signatures of Twilio on upgrade requests: the only proof that its media streams can bring.

``X-Twilio-Signature`` is the base64 of an HMAC-SHA1, keyed with the account's auth token, over the URL as it stands in
the TwiML. What arrives is not always that URL: a proxy ends TLS, changes host and port, takes a prefix away, and Twilio
itself has been seen to add or leave out the port. So the signature is tried against a small set of URLs that lead here.
Their path is always the one asked for, so a signature for one call does not open another.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterator
from dataclasses import dataclass, field

from wavstream.errors import Unauthenticated

_DEFAULT_PORTS = {"wss": 443, "https": 443, "ws": 80, "http": 80}


@dataclass(frozen=True, slots=True)
class SignedUpgrade:
    """A request with a signature, as it arrived."""

    signature: str = field(repr=False)
    target: str
    """Path and query as they were sent."""
    hosts: tuple[str, ...]
    """What the headers of the peer and of proxies say that our name is, with or without a port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioAccount:
    """Whose signatures are taken, and for which app."""

    auth_token: str = field(repr=False)
    app_id: str
    public_url: str
    """What our URLs start with, seen from outside."""

    def app_of(self, upgrade: SignedUpgrade) -> str:
        """Return the app that the stream belongs to; raise Unauthenticated if Twilio did not sign the request."""
        given = upgrade.signature.encode(errors="surrogatepass")
        key = self.auth_token.encode()
        for url in self._urls(upgrade):
            digest = hmac.digest(key, url.encode(errors="surrogatepass"), "sha1")
            if hmac.compare_digest(base64.b64encode(digest), given):
                return self.app_id
        raise Unauthenticated(
            "the signature of Twilio is not right: check twilio.auth_token, and that public_url is what the URL in the "
            "TwiML starts with"
        )

    def _urls(self, upgrade: SignedUpgrade) -> Iterator[str]:
        """Yield the URLs that may have been signed, the likeliest first, each once."""
        path, mark, query = upgrade.target.partition("?")
        paths = (path, path.removesuffix("/") if path.endswith("/") else f"{path}/")
        base = self.public_url.partition("://")[2].rstrip("/")
        authority, slash, prefix = base.partition("/")
        places = [(authority, slash + prefix), *((host, "") for host in upgrade.hosts)]
        urls = (
            f"{scheme}://{name}{before}{path}{mark}{query}"
            for host, before in places
            for path in paths
            for scheme, port in _DEFAULT_PORTS.items()
            for name in (host, _without_port(host), f"{_without_port(host)}:{port}")
        )
        yield from dict.fromkeys(urls)


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
