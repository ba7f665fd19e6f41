"""A client of the native HTTP API, as far as the commands need it that talk to a server: load, demo, list, get, ..."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode, urlsplit

from wavstream.errors import NotFound, OperatorError, PeerError, Unauthenticated, WavstreamError
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.refusals import said

CPU = "process_cpu_seconds_total"
"""The metric of the server's user and system time."""
REST_WITHIN_S = 20.0
"""How long a server has to be at rest after work."""
SPEAK_WITHIN_S = 5.0
"""The same while streams are open that say nothing yet: by the thousand they keep a server above 6 % of a core, and it
ends each that has said nothing for 30 s (``media.introduction_timeout_s``)."""
_TIMEOUT_S = 60.0
_CHUNK_BYTES = 262_144
_IDLE_S = 2.0
"""A connection that was idle for longer is not used again: the server closes it after 5 s, perhaps just now."""
_TEXTS = ("id", "session_id", "status", "created_at", "format", "file_name")
"""Of a recording, in every version: what answers without them is another server."""


class Control:
    """A client on one connection that stays open; for one thread."""

    def __init__(self, server: ServerAddress, *, key: str | None = None, app: str | None = None) -> None:
        """``app``: refuse to work for another than this, whose the key has to be."""
        self._server = server
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        if app is not None:
            self._headers["X-App-ID"] = app
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
        path = f"/v1/recordings/{quote(recording_id, safe='')}"
        return self._ours(self._json("GET", path), path)

    def recordings(self, limit: int, **filters: str | None) -> Iterator[dict[str, Any]]:
        """Yield recordings, the newest first, at most ``limit``; filters are those of the API, None: any."""
        wanted = {name: value for name, value in filters.items() if value is not None}
        while limit > 0:
            page = self._json("GET", f"/v1/recordings?{urlencode({**wanted, 'limit': limit})}")
            found, cursor = page.get("data"), page.get("next_cursor")
            if not isinstance(found, list) or not isinstance(cursor, str | None):
                raise self._not_ours("/v1/recordings")
            yield from (self._ours(each, "/v1/recordings") for each in found[:limit])
            limit -= len(found)
            if cursor is None or cursor == wanted.get("cursor"):  # a page may be empty, and not the last
                return
            wanted["cursor"] = cursor

    def erase(self, recording_id: str, reason: str | None = None) -> None:
        """Erase a recording that has ended; the reason is kept with who asked."""
        query = "" if reason is None else f"?{urlencode({'reason': reason})}"
        self._json("DELETE", f"/v1/recordings/{quote(recording_id, safe='')}{query}")

    def waveform(self, recording_id: str, *, points: int) -> dict[str, Any]:
        """Return the waveform of a recording in so many points at most."""
        path = f"/v1/recordings/{quote(recording_id, safe='')}/waveform"
        found = self._json("GET", f"{path}?points={points}")
        if not isinstance(found.get("data"), list) or not isinstance(found.get("rms"), list):
            raise self._not_ours(path)
        return found

    def events(
        self, path: str, last_id: str | None = None, *, until_s: float | None = None
    ) -> Iterator[tuple[str, str, str]]:
        """Yield server-sent events, (name, id, data), and one without a name for each comment, until the stream ends.

        ``last_id``: of the last event that was read; ``until_s``: then it ends, by ``time.monotonic``; None: when the
        server ends it. Raise what the server answers, and PeerError if it breaks off.
        """
        answer = self._send("GET", self._server.prefix + path, more={"Last-Event-ID": last_id} if last_id else {})
        if answer.status != 200:
            raise _refused("GET", path, answer.status, self._read(answer, "GET", path))
        name = number = text = ""
        try:
            while until_s is None or self._may_wait(until_s):
                line = answer.readline()
                if not line:
                    return
                field, _, value = line.decode(errors="replace").rstrip("\r\n").partition(":")
                value = value.removeprefix(" ")
                match field:
                    case "":
                        yield name, number, text
                        name = text = ""
                    case "event":
                        name = value
                    case "id":
                        number = value
                    case "data":
                        text += value
        except TimeoutError as failed:
            if until_s is None or time.monotonic() < until_s:
                raise _cut("GET", path, f"({failed})") from failed
        except (OSError, ValueError, http.client.HTTPException) as failed:
            raise _cut("GET", path, f"({failed})") from failed
        finally:
            self._connection.close()

    def _may_wait(self, until_s: float) -> bool:
        """Let the next read wait until then, and no longer; return False if it is then."""
        left_s = until_s - time.monotonic()
        if left_s > 0 and self._connection.sock is not None:
            self._connection.sock.settimeout(min(left_s, _TIMEOUT_S))
        return left_s > 0

    def download(
        self, recording_id: str, ext: str, file: BinaryIO, progress: Callable[[int, int | None], None]
    ) -> None:
        """Write the recording's file, in this format, to ``file``; ``progress`` takes bytes so far, and of how many."""
        target = f"{self._server.prefix}/v1/recordings/{quote(recording_id, safe='')}.{ext}"
        answer, body = self._answered("GET", target)
        link = answer.headers["Location"]
        if answer.status != 307 or not link:
            raise _refused("GET", target, answer.status, body)
        answer = self._send("GET", self._target(link))
        if answer.status != 200:
            raise _refused("GET", self._target(link), answer.status, self._read(answer, "GET", target))
        size, done = answer.length, 0
        while chunk := self._read(answer, "GET", target, _CHUNK_BYTES, done):
            file.write(chunk)
            done += len(chunk)
            progress(done, size)
        if size is not None and done != size:
            raise _cut("GET", target, f"after {done} of {size} bytes")

    def transcript(self, recording_id: str, extension: str = "") -> bytes:
        """Return what was said in a recording: as JSON, or with an extension as `.txt`, `.srt` or `.vtt`."""
        path = f"{self._server.prefix}/v1/recordings/{quote(recording_id, safe='')}/transcript{extension}"
        answer, body = self._answered("GET", path)
        if answer.status != 200:
            raise _refused("GET", path, answer.status, body)
        return body

    def status_of(self, url: str) -> int:
        """Return the status of a GET of a link of the server; the body is not read."""
        status = self._send("GET", self._target(url)).status
        self._connection.close()
        return status

    def fetch(self, url: str) -> bytes:
        """Return the file behind a link of the server."""
        answer, body = self._answered("GET", self._target(url))
        if answer.status != 200:
            raise _refused("GET", self._target(url), answer.status, body)
        return body

    def metrics(self) -> dict[str, float]:
        """Return every sample of ``/metrics`` by its name with its labels, as written there."""
        answer, body = self._answered("GET", f"{self._server.prefix}/metrics")
        lines = body.decode(errors="replace").splitlines()
        if answer.status != 200:
            raise PeerError(f"GET /metrics: HTTP {answer.status}")
        samples = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}

    def metrics_at_rest(self, *, within_s: float = REST_WITHIN_S) -> dict[str, float]:
        """Return the metrics once the server has caught up: half a second below 6 % of a core; or after that time."""
        deadline = time.monotonic() + within_s
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
        answer, text = self._answered(method, self._server.prefix + path, body)
        if not 200 <= answer.status < 300:
            raise _refused(method, path, answer.status, text)
        try:
            decoded = json.loads(text or b"{}")
        except ValueError:
            decoded = None
        if not isinstance(decoded, dict):
            raise self._not_ours(path)
        return decoded

    def _ours(self, recording: Any, path: str) -> dict[str, Any]:
        """Return what a server gave as a recording; raise OperatorError if it is none."""
        if not isinstance(recording, dict) or not all(isinstance(recording.get(name), str) for name in _TEXTS):
            raise self._not_ours(path)
        return recording

    def _not_ours(self, path: str) -> OperatorError:
        where = f"{self._server.authority}{self._server.prefix}{path.partition('?')[0]}"
        return OperatorError(f"{where}: something answers there, but not a wavstream server; check --url")

    def _target(self, url: str) -> str:
        """Return the request target of a link of the server, whose own address may be another than the one we use."""
        parts = urlsplit(url)
        _, files, rest = parts.path.partition("/files/")
        path = f"{self._server.prefix}{files}{rest}" if files else parts.path
        return path + (f"?{parts.query}" if parts.query else "")

    def _answered(
        self, method: str, target: str, body: Mapping[str, object] | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        answer = self._send(method, target, body)
        return answer, self._read(answer, method, target)

    def _send(
        self,
        method: str,
        target: str,
        body: Mapping[str, object] | None = None,
        *,
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> http.client.HTTPResponse:
        headers = {**self._headers, **more}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if time.monotonic() > self._used_s + _IDLE_S:
            self._connection.close()
        self._used_s = time.monotonic()
        try:
            if self._connection.sock is None:
                self._connection.connect()
        except (OSError, ValueError) as failed:  # ValueError: a name that cannot be one
            self._connection.close()
            raise OperatorError(
                f"{self._server.authority}: {method} got no answer ({failed}); is the server running there?"
            ) from None
        try:
            self._connection.request(method, target, None if body is None else json.dumps(body), headers)
            return self._connection.getresponse()
        except http.client.BadStatusLine as failed:
            self._connection.close()
            if not isinstance(failed, http.client.RemoteDisconnected):
                raise self._not_ours(target.removeprefix(self._server.prefix)) from None
            raise _cut(method, target, "before its answer") from None
        except (OSError, http.client.HTTPException) as failed:
            self._connection.close()
            raise _cut(method, target, f"before its answer ({failed})") from failed

    def _read(
        self, answer: http.client.HTTPResponse, method: str, target: str, size: int | None = None, done: int = 0
    ) -> bytes:
        """Return the body, or what comes next of it; raise PeerError if the connection ends within."""
        try:
            return answer.read(size)
        except (OSError, http.client.HTTPException) as failed:
            self._connection.close()
            raise _cut(method, target, f"after {done} bytes ({failed})") from failed


def _cut(method: str, target: str, when: str) -> PeerError:
    path = target.partition("?")[0] if "/files/" not in target else "/files/..."
    return PeerError(f"{method} {path}: the connection ended {when}; the server stopped, or a proxy: try again")


def _refused(method: str, path: str, status: int, body: bytes) -> WavstreamError:
    # A link opens its file without a key.
    request = f"{method} {path.partition('?')[0] if '/files/' not in path else '/files/...'}: {status}{said(body)}"
    match status:
        case 401:
            return Unauthenticated(f"{request}; give the app's key with --key or WAVSTREAM_API_KEY")
        case 404:
            return NotFound(request)
    return PeerError(request)
