"""Requests with something wrong in one place: a header, a value of a JSON body, the body as a whole.

Each API is asked by the names of its OpenAPI document, so a route or a field that is added is tried too.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from starlette.types import ASGIApp, Message

Header = tuple[str, bytes]

_DAY = "Sun, 01 Nov 2026 10:00:00"
NO_DATES = (
    "Mon, 01 Jan 99999 00:00:00 GMT",
    f"{_DAY} +99999999999999999999",
    f"Sun, {'1' * 5_000} Nov 2026 10:00:00 GMT",
    f"Sun, 01 Nov {'9' * 30} 10:00:00 GMT",
    f"{_DAY}:\u00b2\u00b3 GMT",
    "Sun, 01 Nov 2026 99:99:99 GMT",
    "",
)
"""What the parser of dates does not take, each for another reason."""
_FAR_DATES = (
    f"{_DAY} -{'9' * 5_000}",
    "Mon, 01 Jan 0000 00:00:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 -2359",
    "Mon, 01 Jan 0001 00:00:00 +2359",
    "Sunday, 06-Nov-94 08:49:37 GMT",
)
_DIGITS = "9" * 5_000
_NO_KEYS = (
    "Bearer",
    "Bearer ",
    "Bearer \xff\xfe",
    "Basic ====",
    "Basic \xff",
    "Basic OmE6",
    "AccessKey \x00",
    "\xff" * 9,
)
HEADERS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("If-Modified-Since", "If-Unmodified-Since", "If-Range"), NO_DATES + _FAR_DATES),
    **dict.fromkeys(("If-Match", "If-None-Match"), ("", ",", '"', 'W/"', "\xff", '"a",' * 3_000)),
    "Range": (
        "bytes=",
        "bytes=-",
        f"bytes=-{_DIGITS}",
        f"bytes={_DIGITS}-{_DIGITS}",
        "bytes=5-2",
        f"bytes={'0-0,' * 3_000}0-1",
        "bytes=\u00b2-",
        "\xff",
    ),
    "Content-Length": ("-1", "\u00b2", "1e3", "9" * 30, ""),
    "Content-Type": (
        "",
        "application/json; charset=\xff",
        "application/json; charset=utf-16",
        "multipart/form-data",
        "multipart/form-data; boundary=\xff",
        "application/x-www-form-urlencoded",
        "application/yaml",
        "a/b;" * 3_000,
    ),
    "Authorization": _NO_KEYS,
    "X-API-Key": ("", "\xff", "k" * 9_000),
    "X-Admin-API-Key": ("", "\xff", "\x00"),
    "X-App-ID": ("", "\xff", "a" * 300),
    "Idempotency-Key": ("", "\xff", "k" * 300, "\x00"),
    "X-Forwarded-For": ("", ",,,", "1" * 5_000, "fe80::1%\xff", "::ffff:1.2.3.4:80", "1.2.3.4," * 1_000),
    "X-Forwarded-Host": ("", "\xff", "[", "a:99999999"),
    "X-Forwarded-Proto": ("", "\xff"),
    "X-Forwarded-Prefix": ("", "\xff", "//evil.example", "/../.."),
    "Forwarded": ("", "for=\xff", 'for="'),
    "Host": ("", "\xff", "[", "[::1", "a:b:c", "localhost:\u00b2", "[" + ":" * 3_000 + "]"),
    "Origin": ("", "null", "\xff", "http://", "http://[", "http://a:99999999"),
    "Access-Control-Request-Method": ("", "\xff"),
    "Access-Control-Request-Headers": ("\xff", "a," * 3_000),
    "Sec-Fetch-Site": ("", "\xff"),
    "X-Twilio-Signature": ("", "\xff", "=" * 9_000),
    "traceparent": ("", "00-0-0-0", "ff" * 3_000, "\xff"),
    "tracestate": ("", "=" * 3_000, "\xff"),
    "x-stainless-retry-count": ("", "-1", "\u00b2", _DIGITS, "1e9"),
    "Accept": ("", "\xff", "*/*;q=\xff"),
    "Accept-Encoding": ("", "\xff", "gzip;q=nan"),
    "Cookie": ("", "\xff", "a=b;" * 3_000),
    "Expect": ("", "200-ok"),
    "Upgrade": ("\xff", "websocket"),
}
"""Every header that some part of the server reads, or a proxy sends, with values that are none."""

HOSTILE = (
    "null", "true", "-1", "0", "1.5", "NaN", "-Infinity", "1e999", "9" * 30, "9" * 5_000, "-0.0", "1e-400",
    '""', '"\\ud800"', '"\\udfff\\ud800"', '"\\u0000"', '"\\u202e\\r\\n"', '"' + "a" * 15_000 + '"',
    "[]", "{}", '[[[[[null]]]]]', '{"\\ud800": "\\ud800"}', '{"": {"": 1}}', "[" * 200 + "]" * 200,
    '{"a":' * 50 + "1" + "}" * 50, '{"a":1,"a":"b"}', "[" + "1," * 5_000 + "1]",
)  # fmt: skip
"""JSON values that nobody sends who means well; some of them are no JSON."""
BODIES = (
    b"", b" ", b"null", b"[]", b"1", b'"a"', b"\xff\xfe", b"\xef\xbb\xbf{}", b"{", b'{"a":}', b'{"a":1}garbage',
    b"\x00", b'{"a":' * 12_000, b"[" * 60_000, b"9" * 60_000, b'{"a":1e' + b"9" * 5_000 + b"}", b'{"\\ud800":1}',
    "{\"a\":1}".encode("utf-16"), b"a=b&a=%ff&%00=%zz", b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n",
    b"a: &a [*a]", b"&a [" + b"*a," * 100 + b"]", b"a: " * 500, b"- " * 500, b"? " * 500, b"!!python/name:os.system",
    b"1: 2026-99-99", b"a: 0x" + b"f" * 5_000, b"a: 190:20:30:" + b"59:" * 900 + b"1", b"<<: [1]", b"a: !!binary \xff",
)  # fmt: skip
"""Bodies as a whole."""


class Operation(NamedTuple):
    """One method of one address, and a body that it takes."""

    method: str
    path: str
    body: dict[str, Any] | None


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


async def ask(
    app: ASGIApp,
    method: str,
    target: str,
    *,
    headers: tuple[Header, ...] = (),
    body: bytes = b"",
    client: tuple[str, int] = ("192.0.2.7", 1),
) -> Answer:
    """Ask the application as a server does, with headers of any bytes; raises nothing that the application raises."""
    path, _, query = target.partition("?")
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    status, got, answered = 0, dict[str, str](), bytearray()

    async def receive() -> Message:
        if not messages:
            await asyncio.Event().wait()  # the caller stays
        return messages.pop()

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            got.update({name.decode("latin-1").lower(): value.decode("latin-1") for name, value in message["headers"]})
        else:
            answered.extend(message.get("body", b""))

    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": quote(path, errors="surrogatepass").encode(),
        "root_path": "",
        "query_string": query.encode("latin-1", "replace"),
        "headers": [(name.lower().encode(), value) for name, value in headers],
        "client": client,
        "server": ("rec", 80),
        "state": {},
    }
    try:
        await app(scope, receive, send)
    except Exception:
        if not status:
            raise
    return Answer(status, got, bytes(answered))


def latin(text: str) -> bytes:
    """Return a header's value as bytes of the wire."""
    return text.encode("latin-1", "replace")


def operations(document: Mapping[str, Any], fill: Callable[[str], str]) -> Iterator[Operation]:
    """Yield the operations of an OpenAPI document; ``fill`` gives a value for the name of a path's parameter."""
    prefix = urlsplit((document.get("servers") or [{"url": ""}])[0]["url"]).path.rstrip("/")
    for path, item in document["paths"].items():
        parts = path.split("{")
        filled = (
            prefix + parts[0] + "".join(fill(part.partition("}")[0]) + part.partition("}")[2] for part in parts[1:])
        )
        for method, operation in item.items():
            if method in ("get", "post", "put", "patch", "delete"):
                yield Operation(method.upper(), filled, _body_of(document, operation))


def _body_of(document: Mapping[str, Any], operation: Mapping[str, Any]) -> dict[str, Any] | None:
    content = operation.get("requestBody", {}).get("content", {})
    if not content:
        return None
    schema = next(iter(content.values())).get("schema", {})
    return _example(document, schema)


def _example(document: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object with every field that the schema names, each with a value of its example or none."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _example(document, document["components"]["schemas"][name])
    found: dict[str, Any] = {}
    for each in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        found |= _example(document, each)
    for name, field in schema.get("properties", {}).items():
        inner = _example(document, field)
        found[name] = inner if inner else next(iter(field.get("enum", field.get("examples", ()))), "")
    for each in schema.get("examples", ()):
        if isinstance(each, dict):
            found |= each
    return found


def spoiled(body: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield the body with each hostile value in the place of each field, within objects too; and with a key twice."""
    for path in _paths(body):
        for value in HOSTILE:
            yield _with(body, path, value)
    text = json.dumps(body)
    yield f"{text[:-1]}, {text[1:]}".encode()
    yield text.encode("utf-16")


def _paths(body: Mapping[str, Any], before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in body.items():
        yield (*before, name)
        if isinstance(value, dict):
            yield from _paths(value, (*before, name))
    yield (*before, "\ud800")


_MARK = "\x01here\x01"


def _with(body: Mapping[str, Any], path: tuple[str, ...], value: str) -> bytes:
    def put(inner: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        name, *rest = path
        return {**inner, name: put(inner[name], tuple(rest)) if rest else _MARK}

    said = {name: each for name, each in put(body, path).items() if each is not None}
    return json.dumps(said).replace(json.dumps(_MARK), value).encode()
