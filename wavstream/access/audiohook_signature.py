"""Signatures of Genesys AudioHook on upgrade requests: who has the API key has to prove that it has the secret as well.

1. The client sends ``X-API-KEY``, and ``Signature-Input`` and ``Signature`` of HTTP message signatures, in the form of
   their draft 11: an HMAC-SHA256, keyed with the client secret, over a line for each component that is listed and one
   for the list itself. So path, query, host and the ids of the session cannot be changed, nor used for another stream.
2. A key that has a secret is taken with a signature only; one that has none is taken as it is.
3. A signature has to cover every component of ``REQUIRED``, and to be made lately: a clock may be ``SKEW_S`` off. It
   is taken once. What was taken is remembered, by its nonce, until it is too old to be taken again.
4. Only a right signature is remembered, so nobody else fills that memory. If it is full, none is taken for a moment.
5. The host in the signature is the one that the client dialled: behind a proxy it is tried as ``public_url`` and, from
   proxies that are trusted, ``X-Forwarded-Host`` have it; and the path with what a proxy may have taken off its start.

Where there are several workers each has a memory of its own.

Sources: https://developer.genesys.cloud/devapps/audiohook/security, and draft-ietf-httpbis-message-signatures-11. A
structured field is read as strictly as its one writer writes it, so that what is hashed is what was sent.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from wavstream.errors import LimitReached, Unauthenticated

REQUIRED = (
    "@request-target",
    "@authority",
    "audiohook-organization-id",
    "audiohook-session-id",
    "audiohook-correlation-id",
    "x-api-key",
)
MAX_AGE_S = 10
"""From ``created`` to our clock."""
SKEW_S = 5
_MIN_NONCE = 22
"""Characters: 16 random bytes in base64."""
_MAX_NONCE = 256
_MAX_NONCES = 20_000
"""As many streams as a server has open, in 15 s."""
_RETRY_S = 5
_INPUT = re.compile(
    r'([a-z*][a-z0-9_.*-]{0,63})=(\((?:"[^"\\]{1,64}"(?: "[^"\\]{1,64}"){0,31})?\)'
    r'(?:;[a-z]{1,16}=(?:"[^"\\]{0,512}"|[0-9]{1,15})){0,8})'
)
_NAMES = re.compile(r'"([^"\\]+)"')
_PARAMETERS = re.compile(r';([a-z]+)=(?:"([^"\\]*)"|([0-9]+))')
_SIGNATURE = re.compile(r"([a-z*][a-z0-9_.*-]{0,63})=:([A-Za-z0-9+/]{1,128}={0,2}):")
_USUAL_PORTS = (":443", ":80")


@dataclass(frozen=True, slots=True)
class HookUpgrade:
    """A request with an ``X-API-KEY``, as it arrived."""

    api_key: str = field(repr=False)
    target: str
    """Path and query as they were sent."""
    hosts: tuple[str, ...]
    """What the headers of the peer and of proxies say that our name is, with or without a port."""
    headers: Mapping[str, str] = field(repr=False)
    """All of them, by their names in lower case."""


class AudioHookClient:
    """Whose API key opens streams, and for which app; its secret, and the signatures that were taken."""

    def __init__(self, *, api_key: str, secret: bytes | None, app: str, public_url: str) -> None:
        """Know one client.

        ``secret``: None: the key alone opens (rule 2). ``app``: the app's name. ``public_url``: what our URLs start
        with, seen from outside.
        """
        self._api_key = api_key.encode()
        self._secret = secret
        self.app = app
        """The name of the app that its streams belong to."""
        authority, slash, prefix = public_url.partition("://")[2].rstrip("/").partition("/")
        self._public = (authority, slash + prefix)
        self._nonces: OrderedDict[str, float] = OrderedDict()
        """What was taken, and until when it is remembered, the oldest first."""

    def owns(self, upgrade: HookUpgrade) -> bool:
        """Return whether this client's key was shown, so that this client's rules decide."""
        return hmac.compare_digest(self._api_key, upgrade.api_key.encode(errors="surrogatepass"))

    def check(self, upgrade: HookUpgrade, now_s: float) -> None:
        """Take a request that has this client's key; ``now_s`` is Unix time.

        Raise Unauthenticated if the request is not signed, or not rightly, and LimitReached as rule 4 says.
        """
        if self._secret is None:
            return
        listed, covered, parameters, given = _read(upgrade.headers)
        if missing := [name for name in REQUIRED if name not in covered]:
            raise _wrong(f"it does not cover {', '.join(missing)}")
        self._check_parameters(parameters, upgrade, now_s)
        values = {name: upgrade.headers.get(name) for name in covered if not name.startswith("@")}
        if None in values.values() or not {name for name in covered if name.startswith("@")} <= {*REQUIRED[:2]}:
            raise _wrong("it covers what the request does not have")
        if not any(
            hmac.compare_digest(hmac.digest(self._secret, base, "sha256"), given)
            for base in self._bases(covered, listed, values, upgrade)
        ):
            raise _wrong(
                "check that audiohook.client_secret is the integration's, and that public_url is what its URL "
                "starts with"
            )
        self._remember(parameters["nonce"], float(parameters["created"]) + MAX_AGE_S + SKEW_S, now_s)

    def _check_parameters(self, parameters: Mapping[str, str], upgrade: HookUpgrade, now_s: float) -> None:
        if parameters.get("alg", "hmac-sha256") != "hmac-sha256":
            raise _wrong("it is no hmac-sha256")
        if parameters.get("keyid") != upgrade.api_key:
            raise _wrong("its keyid is not the key in X-API-KEY")
        if not _MIN_NONCE <= len(parameters.get("nonce", "")) <= _MAX_NONCE:
            raise _wrong(f"its nonce has not {_MIN_NONCE} to {_MAX_NONCE} characters")
        created, expires = parameters.get("created", ""), parameters.get("expires", "")
        if not created.isdecimal() or (expires and not expires.isdecimal()):
            raise _wrong("it does not say when it was created")
        if int(created) > now_s + SKEW_S:
            raise _wrong("it was created in the future: check the clocks of both sides")
        if now_s > int(created) + MAX_AGE_S + SKEW_S or (expires and now_s > int(expires) + SKEW_S):
            raise _wrong(f"it is older than {MAX_AGE_S} s, or has expired: check the clocks of both sides")

    def _bases(
        self, covered: tuple[str, ...], listed: str, values: Mapping[str, str | None], upgrade: HookUpgrade
    ) -> Iterator[bytes]:
        """Yield the texts that may have been signed, the likeliest first (rule 5)."""
        places = [(host, "") for host in upgrade.hosts] + [self._public]
        for host, prefix in places:
            target, authority = prefix + upgrade.target, _without_usual_port(host.lower())
            derived = {"@request-target": target, "@authority": authority}
            lines = [f'"{name}": {derived[name] if name in derived else str(values[name]).strip()}' for name in covered]
            yield "\n".join((*lines, f'"@signature-params": {listed}')).encode(errors="surrogatepass")

    def _remember(self, nonce: str, until_s: float, now_s: float) -> None:
        """Take a signature; raise Unauthenticated if it was taken before (rule 3)."""
        while self._nonces and next(iter(self._nonces.values())) < now_s:
            self._nonces.popitem(last=False)
        if nonce in self._nonces:
            raise _wrong("it was used before")
        if len(self._nonces) >= _MAX_NONCES:
            raise LimitReached("more streams are signed than the server remembers", retry_after_s=_RETRY_S)
        # Not before those that were taken earlier: they end in the order in which they came.
        newest = next(reversed(self._nonces.values()), until_s)
        self._nonces[nonce] = max(until_s, newest)


def _read(headers: Mapping[str, str]) -> tuple[str, tuple[str, ...], Mapping[str, str], bytes]:
    """Return the list of components as it was sent, their names, the parameters and the signature."""
    said, signature = headers.get("signature-input", ""), headers.get("signature", "")
    if not said and not signature:
        raise Unauthenticated("the request is not signed, and the key in X-API-KEY has a secret: sign it with that")
    found, proof = _INPUT.fullmatch(said.strip()), _SIGNATURE.fullmatch(signature.strip())
    if found is None or proof is None or found.group(1) != proof.group(1):
        raise _wrong("Signature-Input and Signature are not what AudioHook sends")
    listed = found.group(2)
    components, _, _ = listed.partition(")")
    names = tuple(_NAMES.findall(components))
    parameters = {name: text or number for name, text, number in _PARAMETERS.findall(listed[len(components) + 1 :])}
    if len(set(names)) < len(names):
        raise _wrong("it names a component twice")
    try:
        return listed, names, parameters, base64.b64decode(proof.group(2), validate=True)
    except binascii.Error:
        raise _wrong("Signature is not base64") from None


def _wrong(what: str) -> Unauthenticated:
    return Unauthenticated(f"the signature of AudioHook is not right: {what}")


def _without_usual_port(host: str) -> str:
    return next((host.removesuffix(port) for port in _USUAL_PORTS if host.endswith(port)), host)
