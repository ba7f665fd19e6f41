"""Genesys Cloud's side of AudioHook."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import ClassVar
from urllib.parse import urlsplit

from wavstream.model.audio import Codec
from wavstream.rendering.codecs.encode import Samples, encode
from wavstream.simulator.vendors.base import AnyCodec, Message, Peer, StreamDescription

_FORMATS = {Codec.PCMU: "PCMU", Codec.L16: "L16"}
_PING_S = 5
_LIFE_S = 30
"""Of a signature, as the reference client has it."""
_OURS = frozenset({"client_secret", "probe", "organization"})
"""Parameters of the simulated client itself; the others are its ``customConfig``."""
_NIL = str(uuid.UUID(int=0))


class AudioHookPeer(Peer):
    """Opens a session, waits for ``opened``, sends audio with pings, and closes it.

    Parameters: ``client_secret`` (base64) signs the upgrade; ``probe=1`` is the probe of a new integration.
    """

    dialect: ClassVar[str] = "audiohook"
    codecs: ClassVar[Sequence[AnyCodec]] = tuple(_FORMATS)

    def __init__(self, stream: StreamDescription) -> None:
        super().__init__(stream)
        assert isinstance(stream.codec, Codec)
        self._codec = stream.codec
        self._organization = stream.parameters.get("organization") or str(uuid.uuid4())
        self._id = str(uuid.uuid4())
        self._seq = self._server_seq = 0
        self._origin: int | None = None
        self._position = 0
        """In samples, of this session."""
        self._next_ping = stream.rate_hz
        self._is_opened = False
        self.reason: str | None = None
        """Why the server disconnected; None: it did not."""

    @property
    def is_ready(self) -> bool:
        """Whether ``opened`` came."""
        return self._is_opened

    def headers(self) -> Mapping[str, str]:
        """Return the ids of the session."""
        return {
            "Audiohook-Organization-Id": self._organization,
            "Audiohook-Session-Id": self._id,
            "Audiohook-Correlation-Id": str(uuid.uuid4()),
        }

    def with_key(self, key: str | None, url: str, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return the headers with the key in ``X-API-KEY``, signed if there is a secret."""
        if key is None:
            return headers
        shown = {**headers, "X-API-KEY": key}
        secret = self.stream.parameters.get("client_secret")
        return shown if secret is None else {**shown, **signature(key, base64.b64decode(secret), url, shown)}

    def opening(self) -> list[Message]:
        """Return ``open``; every form that this client has is offered."""
        stream = self.stream
        is_probe = stream.parameters.get("probe") == "1"
        both = ("external", "internal")
        offers = [both, both[:1], both[1:]] if stream.channels == 2 else [both[:1]]
        media = [
            {"type": "audio", "format": _FORMATS[self._codec], "channels": channels, "rate": stream.rate_hz}
            for channels in offers
        ]
        participant = {"id": stream.leg, "ani": "+4930111", "aniName": "Customer", "dnis": "+4930222"}
        nobody = {"id": _NIL, "ani": "", "aniName": "", "dnis": ""}
        custom = {name: value for name, value in stream.parameters.items() if name not in _OURS}
        opened = {
            "organizationId": self._organization,
            "conversationId": _NIL if is_probe else stream.session_id,
            "participant": nobody if is_probe else participant,
            "media": media,
            "language": "en-US",
            **({"customConfig": custom} if custom else {}),
        }
        return [self._message("open", opened)]

    def audio(self, first: int, samples: Samples) -> list[Message]:
        """Return one binary message, with ``discarded`` before it where audio is missing, and a ping now and then."""
        messages: list[Message] = []
        if self._origin is None:
            self._origin = first
        missing = first - self._origin - self._position
        if missing > 0:
            start, left_out = self._duration(self._position), self._duration(missing)
            self._position += missing
            messages.append(self._message("discarded", {"start": start, "discarded": left_out}))
        if self._position >= self._next_ping:
            messages.append(self._message("ping", {}))
            self._next_ping = self._position + _PING_S * self.stream.rate_hz
        self._position += len(samples)
        return [*messages, encode(samples, self._codec)]

    def pause(self) -> list[Message]:
        """Return what says that no audio comes now."""
        return [self._message("paused", {})]

    def resume(self, samples: int) -> list[Message]:
        """Return what says that it goes on, after a pause of so many samples."""
        start = self._duration(self._position)
        self._position += samples
        return [self._message("resumed", {"start": start, "discarded": self._duration(samples)})]

    def closing(self) -> list[Message]:
        """Return ``close``."""
        return [self._message("close", {"reason": "end"})]

    def received(self, message: Message) -> list[Message]:
        """Take the server's messages; a ``disconnect`` is answered with ``close``."""
        fields = json.loads(message)
        assert fields["seq"] == self._server_seq + 1, f"the server's seq is {fields['seq']}"
        assert isinstance(fields["parameters"], dict)
        self._server_seq = fields["seq"]
        if fields["type"] == "opened":
            self._is_opened = True
        elif fields["type"] == "disconnect":
            self.reason = fields["parameters"]["reason"]
            return [self._message("close", {"reason": "disconnect"})]
        return []

    def _duration(self, samples: int) -> str:
        return f"PT{samples / self.stream.rate_hz:.6f}".rstrip("0").rstrip(".") + "S"

    def _message(self, kind: str, parameters: Mapping[str, object]) -> str:
        self._seq += 1
        fields = {
            "version": "2",
            "type": kind,
            "id": self._id,
            "seq": self._seq,
            "serverseq": self._server_seq,
            "position": self._duration(self._position),
            "parameters": parameters,
        }
        return json.dumps(fields, separators=(",", ":"))


def signature(
    key: str, secret: bytes, url: str, headers: Mapping[str, str], *, created: int | None = None, nonce: str = ""
) -> Mapping[str, str]:
    """Return the headers that sign an upgrade at this URL, as Genesys Cloud signs its own.

    ``created``: Unix time, None: now. ``nonce``: empty: a new one.
    """
    parts = urlsplit(url)
    created = int(time.time()) if created is None else created
    names = ("audiohook-organization-id", "audiohook-session-id", "audiohook-correlation-id", "x-api-key")
    given = {name.lower(): value for name, value in headers.items()}
    values = {
        "@request-target": parts.path + (f"?{parts.query}" if parts.query else ""),
        "@authority": parts.netloc.lower(),
        **{name: given[name] for name in names},
    }
    listed = " ".join(f'"{name}"' for name in values)
    nonce = nonce or secrets.token_urlsafe(24)
    parameters = f'keyid="{key}";nonce="{nonce}";alg="hmac-sha256";created={created};expires={created + _LIFE_S}'
    lines = [*(f'"{name}": {value}' for name, value in values.items()), f'"@signature-params": ({listed});{parameters}']
    digest = base64.b64encode(hmac.digest(secret, "\n".join(lines).encode(), "sha256")).decode()
    return {"Signature-Input": f"sig1=({listed});{parameters}", "Signature": f"sig1=:{digest}:"}
