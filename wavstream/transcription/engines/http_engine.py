"""A server that transcribes: ``POST .../v1/audio/transcriptions``, as OpenAI, whisper.cpp and others have it.

What leaves this machine is each stretch of speech as a WAV file of 16 kHz, the language and the name of the model.

1. It may go where webhooks may go (``webhooks/target.py``): https, to public addresses; http and this machine's own
   network are opened by settings. Each address is checked when it is connected to. A redirect is a failure: it would
   take what was said, and the key, to somebody else.
2. Words with times are asked for; the text says which of them have a space between. A server that gives segments alone
   has its words spread over them, and the transcript says so; one that gives a text alone has it spread over the
   stretch.
3. A key that is refused (401, 403), an address that is none (404, 405) and a request that is (400, 413, 415, 422) fail
   the next time too. All else may pass: 429, 5xx, no connection, no answer in time.
   An answer that breaks off may pass too: what asks next has all of it.
4. An answer is read as far as ``ANSWER_BYTES``; one that is larger, or no JSON of this shape, is nonsense.
5. What the server says of a failure is read by apps: a few words of it, and never the key, which some servers repeat.
"""

from __future__ import annotations

import http.client
import io
import math
import socket
import ssl
import time
import uuid
import wave
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from wavstream.transcription.engines.base import (
    RATE_HZ,
    SEGMENT_TIMING,
    WORD_TIMING,
    EngineFailed,
    Heard,
    joined,
    spread,
)
from wavstream.transcription.transcript import HeardWord
from wavstream.webhooks.target import check_address, check_url

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ANSWER_BYTES = 1_048_576
SAID_CHARACTERS = 300
"""Of why it failed."""
_LASTING = frozenset({301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 413, 415, 422})


class HttpEngine:
    """One address to which speech is sent."""

    def __init__(
        self,
        *,
        url: str,
        key: str | None,
        model: str,
        timeout_s: float,
        max_bytes: int,
        allow_http: bool,
        allow_localhost: bool,
    ) -> None:
        """Prepare to ask; raise EngineFailed for an address that may not be asked (rule 1). Sends nothing."""
        try:
            check_url(url, allow_http=allow_http, allow_localhost=allow_localhost)
        except ValueError as error:
            raise EngineFailed(f"transcription.url {error}", is_lasting=True) from error
        if key is not None and not key.isascii():
            raise EngineFailed("transcription.key has letters that no key has: give it anew", is_lasting=True)
        self._url = urlsplit(url)
        self._key = key
        self._model = model
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._allow_localhost = allow_localhost

    def hear(self, samples: NDArray[np.int16], language: str | None) -> Heard:
        """Return the words that the server answers; raise EngineFailed."""
        try:
            return self._hear(samples, language)
        except EngineFailed as error:  # rule 5
            said = str(error).replace(self._key, "***") if self._key else str(error)
            raise EngineFailed(said[:SAID_CHARACTERS], is_lasting=error.is_lasting) from error

    def _hear(self, samples: NDArray[np.int16], language: str | None) -> Heard:
        length_ms = len(samples) * 1000 // RATE_HZ
        fields = {"model": self._model, "response_format": "verbose_json", "temperature": "0"}
        if language not in (None, "auto"):
            fields["language"] = str(language).casefold().partition("-")[0]
        boundary = uuid.uuid4().hex
        body = _form(boundary, fields, ["word", "segment"], _wav(samples))
        if len(body) > self._max_bytes:
            raise EngineFailed(
                f"{length_ms / 1000:.0f} s are {len(body)} bytes, and transcription.max_bytes is {self._max_bytes}",
                is_lasting=True,
            )
        status, answer = self._ask(body, boundary)
        if status != 200:
            why = answer.decode(errors="replace").strip()
            raise EngineFailed(f"{self._url.netloc} answered {status}: {why}", is_lasting=status in _LASTING)  # rule 3
        return _heard(answer, length_ms)

    def _ask(self, body: bytes, boundary: str) -> tuple[int, bytes]:
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Accept": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        path = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        try:
            connection = self._connect()
            try:
                connection.request("POST", path, body, headers)
                with connection.getresponse() as response:
                    return response.status, self._read(response, connection.sock)
            finally:
                connection.close()
        except TimeoutError as error:
            raise EngineFailed(f"{self._url.netloc} has not answered within {self._timeout_s:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise EngineFailed(f"{self._url.netloc} cannot be asked: {error}") from error

    def _read(self, response: http.client.HTTPResponse, sock: socket.socket | None) -> bytes:
        """Return the answer, within one limit for all of it (rule 4): a byte now and then is no answer in time."""
        give_up, parts, size = time.monotonic() + self._timeout_s, list[bytes](), 0
        while chunk := response.read1(65_536):
            parts.append(chunk)
            size += len(chunk)
            if size > ANSWER_BYTES:
                raise EngineFailed(f"{self._url.netloc} answered more than {ANSWER_BYTES} bytes", is_lasting=True)
            left_s = give_up - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            if sock is not None:
                sock.settimeout(left_s)
        if response.length:  # ``read1`` ends as if all were there
            raise http.client.IncompleteRead(b"", response.length)
        return b"".join(parts)

    def _connect(self) -> http.client.HTTPConnection:
        """Connect to the first address of the host that may be asked and answers (rule 1)."""
        host, is_tls = self._url.hostname or "", self._url.scheme == "https"
        port = self._url.port or (443 if is_tls else 80)
        failure: OSError | None = None
        for family, kind, protocol, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            try:
                check_address(str(place[0]), allow_localhost=self._allow_localhost)
                sock = socket.socket(family, kind, protocol)
                try:
                    sock.settimeout(self._timeout_s)
                    sock.connect(place)
                    if is_tls:
                        sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
                except OSError:
                    sock.close()
                    raise
            except OSError as error:
                failure = error
                continue
            connection = http.client.HTTPConnection(host, port, timeout=self._timeout_s)
            connection.sock = sock
            return connection
        raise failure or OSError(f"{host} has no address")


def _wav(samples: NDArray[np.int16]) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE_HZ)
        sound.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def _form(boundary: str, fields: dict[str, str], granularities: list[str], wav: bytes) -> bytes:
    said = [*fields.items(), *(("timestamp_granularities[]", each) for each in granularities)]
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode()
        for name, text in said
    ]
    head = 'Content-Disposition: form-data; name="file"; filename="speech.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    return b"".join((*parts, f"--{boundary}\r\n{head}".encode(), wav, f"\r\n--{boundary}--\r\n".encode()))


def _heard(answer: bytes, length_ms: int) -> Heard:
    try:
        said = msgspec.json.decode(answer, type=dict[str, Any])
        words, timing = _words(said, length_ms)
    except (
        msgspec.MsgspecError,
        LookupError,
        TypeError,
        ValueError,
        ArithmeticError,
        AttributeError,
        RecursionError,
    ) as error:
        raise EngineFailed(f"the answer is no transcription: {error!r}", is_lasting=True) from error
    language = said.get("language")
    return Heard(tuple(words), language=language if isinstance(language, str) else None, timing=timing)


def _words(said: dict[str, Any], length_ms: int) -> tuple[list[HeardWord], str]:
    """Return the words of an answer, with the best times that it has (rule 2)."""
    segments = said.get("segments") or []
    timed = said.get("words") or [word for each in segments for word in each.get("words") or []]
    if timed:
        text = said.get("text") or "".join(_text(each.get("text") or "") for each in segments)
        return [*joined(_timed(timed), _text(text))], WORD_TIMING
    if segments:
        spans = ((_text(each["text"]), _ms(each["start"]), _ms(each["end"])) for each in segments)
        return [word for text, start, end in spans for word in spread(text, start, end)], SEGMENT_TIMING
    return [*spread(_text(said["text"]), 0, length_ms)], SEGMENT_TIMING


def _timed(words: list[dict[str, Any]]) -> Iterator[HeardWord]:
    for each in words:
        text = _text(each["word"]).strip()
        said = each.get("probability")
        confidence = None if said is None else round(min(max(float(said), 0.0), 1.0), 3)
        if text:
            yield HeardWord(text, _ms(each["start"]), _ms(each["end"]), confidence)


def _text(said: object) -> str:
    if not isinstance(said, str):
        raise TypeError("a text is none")
    return said


def _ms(seconds: object) -> int:
    value = float(seconds)  # type: ignore[arg-type]  # what is no number raises
    if not math.isfinite(value):
        raise ValueError("a time is none")
    return round(value * 1000)
