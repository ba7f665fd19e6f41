"""A client of the native HTTP API, as far as the load and the demo need it."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from wavstream.errors import OperatorError, PeerError, Unauthenticated
from wavstream.simulator.address import ServerAddress

CPU = "process_cpu_seconds_total"
"""The metric of the server's user and system time."""
_TIMEOUT_S = 60.0
_REST_TIMEOUT_S = 20.0
_IDLE_S = 2.0
"""A connection that was idle for longer is not used again: the server closes it after 5 s, perhaps just now."""


class Control:
    """A client on one connection that stays open; for one thread."""

    def __init__(self, server: ServerAddress, *, key: str | None = None) -> None:
        self._server = server
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        kind = http.client.HTTPSConnection if server.secure else http.client.HTTPConnection
        self._connection = kind(server.host, server.port, timeout=_TIMEOUT_S)
        self._used_s = 0.0

    def start(self, session_id: str, **options: object) -> dict[str, Any]:
        """Start a recording of the session and return the API's answer."""
        return self._json("POST", "/v1/recordings", {"session_id": session_id, **options})

    def stop(self, recording_id: str) -> dict[str, Any]:
        """Stop a recording and return the API's answer."""
        return self._json("POST", f"/v1/recordings/{recording_id}/stop")

    def recording(self, recording_id: str) -> dict[str, Any]:
        """Return a recording as it is now."""
        return self._json("GET", f"/v1/recordings/{recording_id}")

    def status_of(self, url: str) -> int:
        """Return the status of a GET of a link of the server; the body is not read."""
        status = self._send("GET", _target(url)).status
        self._connection.close()
        return status

    def fetch(self, url: str) -> bytes:
        """Return the file behind a link of the server."""
        answer = self._send("GET", _target(url))
        body = answer.read()
        if answer.status != 200:
            raise PeerError(f"GET {_target(url)}: HTTP {answer.status}")
        return body

    def metrics(self) -> dict[str, float]:
        """Return every sample of ``/metrics`` by its name with its labels, as written there."""
        answer = self._send("GET", f"{self._server.prefix}/metrics")
        lines = answer.read().decode().splitlines()
        if answer.status != 200:
            raise PeerError(f"GET /metrics: HTTP {answer.status}")
        samples = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}

    def metrics_at_rest(self) -> dict[str, float]:
        """Return the metrics once the server has caught up: half a second below 6 % of a core; or after 20 s."""
        deadline = time.monotonic() + _REST_TIMEOUT_S
        metrics = self.metrics()
        while time.monotonic() < deadline:
            time.sleep(0.5)
            earlier, metrics = metrics, self.metrics()
            if metrics[CPU] - earlier[CPU] < 0.03:
                break
        return metrics

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _json(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        answer = self._send(method, self._server.prefix + path, body)
        text = answer.read()
        if answer.status == 401:
            raise Unauthenticated(f"{method} {path}: 401; give the app's key with --key or WAVSTREAM_API_KEY")
        if answer.status >= 400:
            raise PeerError(f"{method} {path}: HTTP {answer.status}: {text.decode(errors='replace')[:300]}")
        decoded: dict[str, Any] = json.loads(text)
        return decoded

    def _send(self, method: str, target: str, body: Mapping[str, object] | None = None) -> http.client.HTTPResponse:
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        if time.monotonic() > self._used_s + _IDLE_S:
            self._connection.close()
        self._used_s = time.monotonic()
        try:
            self._connection.request(method, target, None if body is None else json.dumps(body), headers)
            return self._connection.getresponse()
        except (OSError, http.client.HTTPException) as failed:
            self._connection.close()
            authority = self._server.authority
            raise OperatorError(
                f"{authority}: {method} got no answer ({failed}); is the server running there?"
            ) from None


def _target(url: str) -> str:
    parts = urlsplit(url)
    return parts.path + (f"?{parts.query}" if parts.query else "")
