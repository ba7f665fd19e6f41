"""What the version before this one left behind, and what it answered: see ``tests/vectors/earlier``."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import tarfile
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from tests.support.receiver import Received
from wavstream.settings import GatewaySettings, Settings, WebhookSettings

VECTORS = Path(__file__).parents[1] / "vectors" / "earlier"
PUBLIC_URL = "http://recorder.example"
KEY = "the-key-of-the-shop-app"
ADMIN_KEY = "key-of-the-administrators"
_KEPT_HEADERS = ("content-type", "content-length", "etag", "location", "allow", "retry-after", "www-authenticate",
                 "content-range", "accept-ranges", "content-disposition", "cache-control", "link")  # fmt: skip
_MADE_ANEW = (
    # What differs from one run to the next, and what stands for it.
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"), "MOMENT"),
    (re.compile(r"(?<![0-9a-f-])[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])"), "ID"),
    (re.compile(r"/files/[A-Za-z0-9._~/%=&?-]+"), "/files/LINK"),
    (re.compile(r'"token":"[^"]+"'), '"token":"TOKEN"'),
    (re.compile(r"(call[\w-]*?)-\d{10}\b"), r"\1-SECOND"),
)


_YOUNGER = frozenset(
    (
        "api",
        "updated_at",
        "transcription",
        "transcription_language",
        "vendor_accounts",
        "webhook_event_failover_url",
        "pace",
        "behavior",
        "suspicions",
        "take_overs",
        "pauses_omitted",
        "facts_omitted",
        "events_omitted",
    )
)
"""Fields of today's answers that the version before did not have; what was there is as it was."""


def settings(data_dir: Path, *, reconnect_wait_s: float) -> Settings:
    """Those of the server that answered."""
    return Settings(
        port=0,
        data_dir=data_dir,
        public_url=PUBLIC_URL,
        reconnect_wait_s=reconnect_wait_s,
        admin_api_key=SecretStr(ADMIN_KEY),
        webhooks=WebhookSettings(allow_http=True, allow_localhost=True, recording_started=True),
        gateway=GatewaySettings(stop_cooldown="seek"),
    )


def unpack(target: Path) -> Path:
    """Return the data folder of the version before, as its kill left it."""
    with tarfile.open(VECTORS / "data.tar.gz") as archive:
        archive.extractall(target, filter="data")
    return target / "data"


def expected(name: str) -> Any:
    """One of the JSON files beside the data folder."""
    return json.loads((VECTORS / name).read_text("utf-8"))


async def answers(base_url: str, asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what a server on that data folder answers, in the order of asking.

    Where a question is ``anew``, what differs from one run to the next is replaced by what stands for it.
    """
    given = []
    async with httpx.AsyncClient(base_url=base_url, timeout=60) as http:
        for question in asked:
            body = question.get("body")
            more: dict[str, Any] = (
                {"content": body} if isinstance(body, str) else {} if body is None else {"json": body}
            )
            answer = await http.request(question["method"], question["path"], headers=question["headers"], **more)
            settle = _settled if question["anew"] else str
            is_audio = answer.headers.get("content-type", "").startswith("audio/")
            kept = {name: settle(answer.headers[name]) for name in _KEPT_HEADERS if name in answer.headers}
            text = _without_younger(answer.text) if answer.headers.get("content-type") == "application/json" else ""
            if text and text != answer.text:
                kept["content-length"] = settle(str(len(text.encode())))
            said = answer.content.hex()[:400] if is_audio else settle(text or answer.text)
            given.append({"status": answer.status_code, "headers": kept, "body": said})
    return given


def send_webhooks_to(url: str, data: Path) -> None:
    """Have the app's webhooks go there, from the first try of the next start on."""
    with sqlite3.connect(data / "catalog.db") as connection:
        connection.execute("UPDATE apps SET webhook_json = replace(webhook_json, 'http://127.0.0.1:9/hook', ?)", (url,))
        connection.execute("UPDATE outbox SET due_us = 0 WHERE due_us IS NOT NULL")
    connection.close()


def delivered(requests: list[Received]) -> list[dict[str, str]]:
    """Return the webhooks that a receiver got, by their ids."""
    got = [{"id": each.headers["webhook-id"], "body": each.body.decode()} for each in requests]
    return sorted(got, key=lambda each: each["id"])


def without_younger(value: Any) -> Any:
    """Return a value of JSON without the fields that are younger than the version before."""
    return json.loads(_without_younger(json.dumps(value)))


def _without_younger(text: str) -> str:
    """Return a JSON text, as our server writes it, without the fields that are younger than the version before."""

    def older(fields: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in fields.items() if name not in _YOUNGER}

    return json.dumps(json.loads(text, object_hook=older), separators=(",", ":"), ensure_ascii=False) if text else ""


def _settled(text: str) -> str:
    for pattern, stands in _MADE_ANEW:
        text = pattern.sub(stands, text)
    return text


def pack(data: Path, target: Path) -> None:
    """Write the archive of a data folder whose server was killed; its catalog is made one file."""
    with sqlite3.connect(data / "catalog.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    for leftover in (*data.glob("catalog.db-*"), *(data / "spool").iterdir()):
        leftover.unlink()
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with tarfile.open(target / "data.tar.gz", "w:gz") as archive:
        archive.add(data, "data")
