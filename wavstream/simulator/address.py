"""The address of a server: its media and HTTP addresses, made from the one that the user gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from wavstream.errors import OperatorError

_SECURE = {"ws": False, "http": False, "wss": True, "https": True}


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A server, as ``ws://host:port`` with an optional path prefix of a proxy."""

    host: str
    port: int
    secure: bool
    prefix: str

    @classmethod
    def parse(cls, url: str) -> ServerAddress:
        """Read ``ws://``, ``wss://``, ``http://`` or ``https://``; raise OperatorError for anything else."""
        wanted = "give the server as ws://HOST:PORT, or with wss://, http:// or https://"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise OperatorError(f"--url {url}: {error}; {wanted}") from None
        if parts.scheme not in _SECURE or "://" not in url:
            raise OperatorError(f"--url {url}: it begins with none of the schemes that a server has; {wanted}")
        if not parts.hostname or any(character.isspace() for character in parts.netloc):
            raise OperatorError(f"--url {url}: there is no host in it; {wanted}")
        if parts.username is not None or parts.query or parts.fragment:
            raise OperatorError(
                f"--url {_bare(parts)}: it has more than an address and a path; {wanted}, and the key with --key"
            )
        secure = _SECURE[parts.scheme]
        port = port or (443 if secure else 80)
        return cls(parts.hostname, port, secure, parts.path.rstrip("/").removesuffix("/media"))

    @property
    def authority(self) -> str:
        """``host:port``, as in a Host header."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def media_path(self, dialect: str, session_id: str, leg: str, query: Mapping[str, str]) -> str:
        """Return the request target of one leg's stream."""
        path = "/".join(quote(part, safe="") for part in (dialect, session_id, leg))
        return f"{self.prefix}/media/{path}" + (f"?{urlencode(query)}" if query else "")

    def media_url(self, dialect: str, session_id: str, leg: str, query: Mapping[str, str]) -> str:
        """Return the WebSocket URL of one leg's stream."""
        scheme = "wss" if self.secure else "ws"
        return f"{scheme}://{self.authority}{self.media_path(dialect, session_id, leg, query)}"


def _bare(parts: SplitResult) -> str:
    """Return the address without what may be a secret."""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
