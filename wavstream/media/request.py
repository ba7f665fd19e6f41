"""The request head of a media WebSocket, taken apart, and its refusal.

Three rules that are easy to get wrong:

1. A path is cut at its slashes first and percent-decoded then, so that ids may hold slashes.
2. A ``+`` in the query is a plus and not a space: dial plans write ``from=+4930...`` as it is.
3. A key may stand in many places, since no two media servers can show one in the same. The first place of these that
   has something counts, and only that: the header that ``media.key_header`` names, ``Authorization: Bearer``,
   ``X-API-Key``, Telnyx' ``X-Telnyx-Streaming-Auth-Token``, the path (``/t/{token}``), the query (``token``), the
   password of ``Authorization: Basic``. What was set for a stream stands before what many streams may have, and Basic
   is last, for it may be a proxy's. Where nothing stands in any, a signature of Twilio counts; one of AudioHook is of
   its ``X-API-KEY``.
"""

from __future__ import annotations

import base64
import email.utils
import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import unquote

import msgspec
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from wavstream.access.audiohook_signature import HookUpgrade
from wavstream.access.keys import TOKEN_PREFIX
from wavstream.access.origin import Networks, client_address, is_foreign, is_local, is_trusted
from wavstream.access.twilio_signature import SignedUpgrade
from wavstream.dialects.base import UpgradeRequest
from wavstream.errors import DependencyError, Forbidden, InternalError, NotFound, PeerError, Unauthenticated
from wavstream.media.routes import Route, Routes
from wavstream.model.ids import is_customer_id

_SHOWN = 300
"""Characters of a path that the log is told."""
_SECRET_QUERY = frozenset({"app", "token"})
_TELNYX_TOKEN = "x-telnyx-streaming-auth-token"
_SECRET_HEADERS = frozenset(
    (
        *("authorization", "proxy-authorization", "cookie", "x-api-key", "x-app-id", _TELNYX_TOKEN),
        *("signature", "signature-input", "x-twilio-signature", "x-twilio-email-event-webhook-signature"),
        *("x-plivo-signature-v2", "x-plivo-signature-v3", "x-plivo-signature-ma-v3"),
    )
)
_SHOWN_HEADERS = frozenset({"x-twilio-signature", _TELNYX_TOKEN})
"""Of these a dialect sees that they are there, since they say whose stream it is; never what is in them."""


class Peer(NamedTuple):
    """Who a media socket is of, as far as that is known: what the log says where it is refused."""

    address: str | None
    """Of the client: a trusted proxy says which."""
    session_id: str | None = None
    leg: str | None = None
    path: str | None = None
    """That was asked for, without what opens something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaCredentials:
    """What a handshake says about who asks. Never logged."""

    app: str | None
    """From the query, else from ``X-App-ID``."""
    token: str | None = field(repr=False)
    """An app's key or a stream token, of the first place that has one (rule 3)."""
    session_id: str | None
    """From the path; a stream token may be good for one session only."""
    signed: SignedUpgrade | None = None
    """The request, if Twilio has signed it."""
    hook: HookUpgrade | None = None
    """The request, if its ``X-API-KEY`` is the key that counts: AudioHook may have signed it."""
    address: str | None = None
    """Of the client, to count wrong keys by."""
    client_is_loopback: bool
    """Whether the peer is on this machine, and no proxy says that it speaks for another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRequest:
    """A request for a stream of a route."""

    route: Route
    upgrade: UpgradeRequest
    """For the dialect; without the key."""
    credentials: MediaCredentials


def read_request(
    request: Request,
    *,
    routes: Routes,
    peer_host: str | None,
    trusted_proxies: Networks = (),
    allowed_origins: Collection[str] = (),
    key_header: str | None = None,
) -> MediaRequest:
    """Return the request taken apart; raise NotFound, or Forbidden for a page of an origin that is not allowed.

    ``peer_host`` is the address that the socket comes from; ``key_header`` a header that carries the key, too.
    """
    path, _, raw_query = request.path.partition("?")
    route, segment, ids = routes.find(path)  # rule 1
    token = None if segment is None else unquote(segment)
    hosts = _hosts(request.headers, by_proxy=is_trusted(peer_host, trusted_proxies))
    if is_foreign(request.headers.get_all("Origin"), hosts=hosts, allowed_origins=allowed_origins):
        raise Forbidden(
            "pages of this origin may not open media sockets: whoever runs the server lists it in "
            "WAVSTREAM_ALLOWED_ORIGINS, or the peer sends no Origin"
        )
    session_id, leg = (*(_id(segment) for segment in ids), None, None)[:2]
    query = _query(raw_query)
    if session_id is None and is_customer_id(query.get("session_id", "")):
        # Asterisk's paths are fixed. Known here it takes a token of the session, and goes to its worker at once.
        session_id = query["session_id"]
    headers = {name.lower(): value for name, value in request.headers.raw_items()}
    own_header = "" if key_header is None else key_header.lower()
    api_key, before_it = headers.get("x-api-key"), headers.get(own_header) or _bearer(headers)
    secret = _SECRET_HEADERS | {own_header}
    return MediaRequest(
        route=route,
        upgrade=UpgradeRequest(
            session_id=session_id,
            leg=leg,
            query={key: value for key, value in query.items() if key not in _SECRET_QUERY},
            headers={
                key: "" if key in secret else value
                for key, value in headers.items()
                if key not in secret or key in _SHOWN_HEADERS
            },
            defaults=route.parameters,
        ),
        credentials=MediaCredentials(
            app=query.get("app", headers.get("x-app-id")),
            token=before_it
            or api_key
            or headers.get(_TELNYX_TOKEN)
            or token
            or query.get("token")
            or _password(headers),
            session_id=session_id,
            signed=_signed(request.path, headers, hosts),
            hook=HookUpgrade(api_key, request.path, hosts, headers) if api_key and not before_it else None,
            client_is_loopback=is_local(peer_host, request.headers.raw_items(), allowed_origins=allowed_origins),
            # Peers of a unix socket are counted together, as one address.
            address=client_address(peer_host, request.headers.get_all("X-Forwarded-For"), trusted_proxies) or "",
        ),
    )


def shown_target(target: str) -> str:
    """Return the path of a request for the log, without what opens something: its query, and a token in it."""
    segments = target.partition("?")[0].split("/")
    shown = [
        "***" if before == "t" or segment.startswith(TOKEN_PREFIX) else segment
        for before, segment in itertools.pairwise(("", *segments))
    ]
    return "/".join(shown)[:_SHOWN]


def refusal(error: Exception) -> Response:
    """Return the answer before the upgrade: an RFC 9457 problem. The peer learns nothing of what is not its error."""
    known = error if isinstance(error, PeerError | DependencyError) else InternalError()
    headers = {} if known.retry_after_s is None else {"Retry-After": str(known.retry_after_s)}
    match known:
        case Unauthenticated():
            headers["WWW-Authenticate"] = "Bearer"
            detail = str(error)
        case PeerError():
            detail = str(error)
        case DependencyError():
            detail = "temporary failure"
        case _:
            detail = "internal error"
    return _problem(HTTPStatus(known.http_status), detail, headers)


def other_version(ours: str) -> Response:
    """Return the answer to another version of the protocol, which names ours (RFC 6455, 4.4)."""
    return _problem(
        HTTPStatus.UPGRADE_REQUIRED,
        f"version {ours} of the WebSocket protocol is spoken here",
        {"Upgrade": "websocket", "Sec-WebSocket-Version": ours},
    )


def _problem(status: HTTPStatus, detail: str, headers: dict[str, str]) -> Response:
    problem = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    body = msgspec.json.encode(problem)
    headers = headers | {
        "Date": email.utils.formatdate(usegmt=True),
        "Connection": "close" if status is not HTTPStatus.UPGRADE_REQUIRED else "Upgrade, close",
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(body)),
    }
    return Response(status.value, status.phrase, Headers(headers), body)


def _id(segment: str) -> str:
    try:
        text = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        text = ""
    if not is_customer_id(text):
        raise NotFound("session and leg have 1 to 256 printable characters, percent-encoded in UTF-8")
    return text


def _query(raw: str) -> dict[str, str]:
    """Return the values by key; of a key that comes twice the last one counts. ``unquote`` leaves a plus (rule 2)."""
    pairs = (pair.partition("=") for pair in raw.split("&") if pair)
    return {unquote(key): unquote(value) for key, _, value in pairs}


def _hosts(headers: Headers, *, by_proxy: bool) -> tuple[str, ...]:
    """Return what the headers say that our name is."""
    # Where several proxies have each added a value, the first is the name that the peer used.
    names = ("X-Forwarded-Host", "Host") if by_proxy else ("Host",)
    hosts = (each.partition(",")[0].strip() for name in names for each in headers.get_all(name)[-1:])
    return tuple(host for host in hosts if host)


def _signed(target: str, headers: Mapping[str, str], hosts: tuple[str, ...]) -> SignedUpgrade | None:
    signature = headers.get("x-twilio-signature")
    return None if signature is None else SignedUpgrade(signature, target, hosts)


def _bearer(headers: Mapping[str, str]) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _password(headers: Mapping[str, str]) -> str | None:
    """Return the password of ``Basic``. The key itself says whose it is, so any user will do."""
    scheme, _, said = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(said.strip(), validate=True).decode().partition(":")[2] or None
    except ValueError:
        return None
