"""``wavstream-health``: whether a server is alive, or ready, as an exit code, for the checks of containers.

It is a program of its own and not a command of ``wavstream``, since it runs every few seconds: it takes 0.06 s of the
processor, where the command line's packages alone take 0.45 s. So it reads host and port itself, by the server's rules
(``model.given``, ``model.hosts``): the variables in any case, without blanks around their values, an empty one not set,
and what an orchestrator has set for a service of our name passed over. The server is asked on the first host that it
listens on.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from wavstream.model.given import is_quoted, is_service_link, without_blanks
from wavstream.model.hosts import UNIX, are_hosts, joined, port_of, reached_at

TIMEOUT_S = 2.0
_HOST, _PORT = "WAVSTREAM_HOST", "WAVSTREAM_PORT"


def main() -> None:
    """Ask the server and exit with 0 if it is well, else with 1 and one line that says why."""
    parser = argparse.ArgumentParser(prog="wavstream-health", description="Ask a server how it is.", allow_abbrev=False)
    parser.add_argument(
        "url",
        nargs="?",
        help=f"where it is, as http://HOST:PORT or {UNIX}PATH; by itself: where {_HOST}, {_PORT} and --config say",
    )
    parser.add_argument("--ready", action="store_true", help="whether it can take calls, not only whether it is alive")
    parser.add_argument("--config", metavar="FILE", help="TOML file of the server's settings")
    given = parser.parse_args()
    try:
        url = given.url or server_url(os.environ, {} if given.config is None else _read(given.config))
    except ValueError as error:
        trouble: str | None = str(error)
    else:
        trouble = ask(url, "/readyz" if given.ready else "/healthz")
    if trouble:
        sys.stderr.write(f"wavstream-health: {trouble}\n")
    raise SystemExit(1 if trouble else 0)


def server_url(environment: Mapping[str, str], file: Mapping[str, Any]) -> str:
    """Return where the server of these variables, and of this file, is; raise ValueError if they do not say."""
    ours = {
        name.upper(): without_blanks(value)
        for name, value in environment.items()
        if name.upper() in (_HOST, _PORT) and not is_service_link(name, value)
    }
    host, where_host = (ours[_HOST], _HOST) if ours.get(_HOST) else (file.get("host", "127.0.0.1"), "host")
    port, where_port = (ours[_PORT], _PORT) if ours.get(_PORT) else (file.get("port", 8080), "port")
    for text, where in ((host, where_host), (port, where_port)):
        if isinstance(text, str) and is_quoted(text):
            raise ValueError(f"{where}: must not have quotes around it: leave them out")
    try:
        first = are_hosts(str(joined(host))).partition(",")[0]
    except ValueError as error:
        raise ValueError(f"{where_host}: {error}") from None
    if first.startswith(UNIX):
        return first
    try:
        number = port_of(port)
    except ValueError as error:
        raise ValueError(f"{where_port}: {port!r}: {error}") from None
    if number == 0:
        raise ValueError(f"{where_port} is 0, which is any port that is free: say where the server is, as a URL")
    address = reached_at(first)
    return f"http://{f'[{address}]' if ':' in address else address}:{number}"


def get(url: str, path: str) -> tuple[int, bytes]:
    """Return status and body of an answer; raise OSError, HTTPException, and KeyError or ValueError of the URL."""
    connection = _connection(url)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def ask(url: str, path: str) -> str | None:
    """Return what is wrong with the server at a URL; None if it answers 200."""
    try:
        status, body = get(url, path)
    except (KeyError, ValueError):
        return f"{url} is not the address of a server, such as http://127.0.0.1:8080"
    except (OSError, http.client.HTTPException) as error:
        return f"{url} does not answer: {error}"
    return None if status == 200 else _reasons(body) or f"{url}{path} answers {status}"


def _connection(url: str) -> http.client.HTTPConnection:
    if url.startswith(UNIX):
        return _OverUnixSocket(url.removeprefix(UNIX))
    at = urlsplit(url)
    kinds: dict[str, type[http.client.HTTPConnection]]
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    return kinds[at.scheme](at.hostname or "", at.port, timeout=TIMEOUT_S)


class _OverUnixSocket(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _read(config: str) -> Mapping[str, Any]:
    import tomllib

    try:
        with open(config, "rb") as file:
            found: Mapping[str, Any] = without_blanks(tomllib.loads(file.read().decode("utf-8-sig")))
    except (OSError, ValueError) as error:
        raise ValueError(f"{config}: {error}; name a readable TOML file with --config") from None
    return found


def _reasons(body: bytes) -> str:
    """Return the sentences of a server that is not ready; empty if there are none."""
    try:
        return " ".join(json.loads(body)["reasons"])
    except (ValueError, TypeError, KeyError):
        return ""
