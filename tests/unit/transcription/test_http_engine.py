"""The engine that asks a server: what it sends, what it takes for words, and what it takes for a failure."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
import soundfile

from wavstream.transcription.engines.base import EngineFailed, checked
from wavstream.transcription.engines.http_engine import ANSWER_BYTES, HttpEngine

SPEECH = np.arange(16_000, dtype=np.int16)
WORDS = {"text": "good morning", "language": "english", "words": [
    {"word": "good", "start": 0.1, "end": 0.3}, {"word": " morning", "start": 0.35, "end": 0.8, "probability": 0.7},
]}  # fmt: skip
Answering = Callable[[BaseHTTPRequestHandler, bytes], None]


def answers(content: object, status: int = 200, **headers: str) -> Answering:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()

    def answer(request: BaseHTTPRequestHandler, _body: bytes) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    return answer


def timed(*words: str) -> list[dict[str, object]]:
    return [{"word": word, "start": at / 10, "end": at / 10 + 0.1} for at, word in enumerate(words)]


def breaks_off(request: BaseHTTPRequestHandler, _body: bytes) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "500")
    request.end_headers()
    request.wfile.write(b'{"text": "good')


def repeats_the_key(request: BaseHTTPRequestHandler, body: bytes) -> None:
    answers(f"no such key: {request.headers['Authorization']}".encode(), 401)(request, body)


@contextmanager
def served(answer: Answering) -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    asked: list[tuple[str, dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.path, {name.lower(): text for name, text in self.headers.items()}, body))
            answer(self, body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/audio/transcriptions?x=1", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def engine(url: str, **other: object) -> HttpEngine:
    settings: dict[str, object] = {
        "key": "sk-1", "model": "whisper-1", "timeout_s": 20.0, "max_bytes": 100_000,
        "allow_http": True, "allow_localhost": True,
    }  # fmt: skip
    return HttpEngine(url=url, **{**settings, **other})  # type: ignore[arg-type]


def test_a_stretch_of_speech_is_sent_as_the_api_has_it_and_words_come_back() -> None:
    with served(answers(WORDS)) as (url, asked):
        heard = engine(url).hear(SPEECH, "en-US")

    (path, headers, body) = asked[0]
    assert path == "/v1/audio/transcriptions?x=1"
    assert headers["authorization"] == "Bearer sk-1"
    for field, value in (("model", "whisper-1"), ("response_format", "verbose_json"), ("language", "en")):
        assert f'name="{field}"\r\n\r\n{value}\r\n'.encode() in body
    sound, rate_hz = soundfile.read(io.BytesIO(body[body.index(b"RIFF") : body.rindex(b"\r\n--")]), dtype="int16")
    assert rate_hz == 16_000
    assert np.array_equal(sound, SPEECH)
    assert [(word.word, word.start_ms, word.end_ms, word.confidence) for word in heard.words] == [
        ("good", 100, 300, None), ("morning", 350, 800, 0.7),
    ]  # fmt: skip
    assert (heard.language, heard.timing) == ("english", "word")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"text": "x", "segments": [{"text": " good morning", "start": 0.2, "end": 0.9}]}, ["good", "morning"]),
        ({"text": "good morning"}, ["good", "morning"]),
        ({"text": ""}, []),
    ],
)
def test_a_server_without_times_of_words_has_them_spread(said: dict[str, object], words: list[str]) -> None:
    with served(answers(said)) as (url, _):
        heard = engine(url).hear(SPEECH, None)
    assert [word.word for word in heard.words] == words
    assert heard.timing == "segment"
    assert all(0 <= word.start_ms <= word.end_ms <= 1_000 for word in heard.words)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"text": "\u4f60\u597d\uff0c\u4e16\u754c"}, "\u4f60|\u597d\uff0c|\u4e16|\u754c"),
        (
            {"segments": [{"text": "\u0e2a\u0e27\u0e31 \u0e14\u0e35", "start": 0, "end": 1}]},
            "\u0e2a|\u0e27\u0e31 \u0e14\u0e35",
        ),
        ({"text": "x\u4f60", "words": timed("\u4f60", "\u597d")}, "\u4f60|\u597d"),
        ({"text": "Good-by, don't", "words": timed("good", "by", "don", "'t")}, "good by don|'t"),
        ({"text": " Transcribe, it", "words": timed(" Trans", "cribe", ",", " it")}, "Trans|cribe|, it"),
        ({"text": "\u597d\u3002\u597d", "words": timed("\u597d", "\u597d")}, "\u597d \u597d"),
        ({"words": timed("good", "morning")}, "good morning"),
        ({"words": timed("\u597d" * 300)}, "|".join("\u597d" * 300)),
        ({"words": timed("x" * 201, "\u96fb\u8a71\u756a\u53f7")}, f"{'x' * 200}|x \u96fb\u8a71\u756a\u53f7"),
    ],
)
def test_words_without_a_space_between_are_words_as_others_and_say_that_they_have_none(
    said: dict[str, object], words: str
) -> None:
    with served(answers(said)) as (url, _):
        heard = checked(engine(url).hear(SPEECH, None), 30_000)
    assert "".join(f"{'|' if word.is_joined else ' '}{word.word}" for word in heard.words).strip() == words
    starts = [word.start_ms for word in heard.words]
    assert starts == sorted(starts)


@pytest.mark.parametrize("letter", ["x", "\u597d", "\u0e01"])
def test_more_than_anybody_can_say_is_refused_in_any_script(letter: str) -> None:
    with served(answers({"text": letter * 100_000})) as (url, _):
        heard = engine(url).hear(SPEECH, None)
    with pytest.raises(EngineFailed, match=r"words for 1\.0 s") as failed:
        checked(heard, 1_000)
    assert failed.value.is_lasting


@pytest.mark.parametrize(
    ("answer", "why", "is_lasting"),
    [
        (answers({"error": "bad key"}, 401), "answered 401: .*bad key", True),
        (answers({}, 429), "answered 429", False),
        (answers({}, 503), "answered 503", False),
        (answers({}, 307, Location="http://127.0.0.1:9/"), "answered 307", True),
        (answers(b"<html>"), "no transcription", True),
        (answers([1]), "no transcription", True),
        (answers({"words": [{"word": 7, "start": 0, "end": 1}]}), "no transcription", True),
        (answers({"words": [{"word": "x", "start": "soon", "end": 1}]}), "no transcription", True),
        (answers({"words": [{"word": "x", "start": 1e400, "end": 1}]}), "no transcription", True),
        (answers({"segments": [1]}), "no transcription", True),
        (answers({"segments": [{"text": None, "start": 0, "end": 1}]}), "no transcription", True),
        (answers(b'{"text": "a", "x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"), "no transcription", True),
        (breaks_off, "cannot be asked", False),
        (answers({"said": "x" * 250 + " sk-1"}, 401), r"\A.{,300}\Z", True),
        (answers({"words": [{"word": "x", "start": "x" * 100_000, "end": 1}]}), r"\A.{,300}\Z", True),
        (repeats_the_key, r"answered 401: no such key: Bearer \*\*\*$", True),
        (answers(b'"' + b"x" * ANSWER_BYTES + b'"'), "more than", True),
    ],
)
def test_what_is_no_answer_is_a_failure_that_says_whether_it_may_pass(
    answer: Answering, why: str, is_lasting: bool
) -> None:
    with served(answer) as (url, _), pytest.raises(EngineFailed, match=why) as failed:
        engine(url).hear(SPEECH, None)
    assert failed.value.is_lasting is is_lasting


def test_a_key_that_no_request_can_carry_is_said_without_it() -> None:
    with pytest.raises(EngineFailed, match=r"transcription\.key") as failed:
        engine("http://127.0.0.1:9/", key="sk-1\u20ac")
    assert failed.value.is_lasting
    assert "sk-1" not in str(failed.value)


def test_a_server_that_does_not_answer_in_time_is_a_failure_that_may_pass() -> None:
    is_over = threading.Event()

    def drip(request: BaseHTTPRequestHandler, _body: bytes) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while not is_over.wait(0.05):
                request.wfile.write(b" ")
        except OSError:
            pass

    with served(drip) as (url, _):
        try:
            with pytest.raises(EngineFailed, match="has not answered within") as failed:
                engine(url, timeout_s=0.5).hear(SPEECH, None)
        finally:
            is_over.set()
    assert not failed.value.is_lasting


def test_what_is_too_large_is_not_sent() -> None:
    with served(answers(WORDS)) as (url, asked), pytest.raises(EngineFailed, match=r"transcription\.max_bytes"):
        engine(url, max_bytes=20_000).hear(SPEECH, None)
    assert asked == []


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://api.example.com/v1", {"allow_http": False}),
        ("https://127.0.0.1/v1", {"allow_localhost": False}),
        ("https://169.254.169.254/v1", {"allow_localhost": False}),
        ("https://localhost/v1", {"allow_localhost": False}),
        ("https://key@api.example.com/v1", {}),
    ],
)
def test_an_address_that_no_webhook_may_go_to_is_refused(url: str, allowed: dict[str, object]) -> None:
    with pytest.raises(EngineFailed, match=r"transcription\.url") as failed:
        engine(url, **allowed)
    assert failed.value.is_lasting


def test_a_name_that_leads_to_this_machine_is_refused_when_it_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    def looked_up(*_: object, **__: object) -> list[object]:
        return [(2, 1, 6, "", ("127.0.0.1", 80))]

    monkeypatch.setattr("socket.getaddrinfo", looked_up)
    with pytest.raises(EngineFailed, match="not on the public internet"):
        engine("http://asr.example.com/v1", allow_localhost=False).hear(SPEECH, None)
