"""Pages in a browser: a player of another origin, and the page of the API behind a proxy, without the internet."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx

from tests.support.recorder import Recorder, recorder
from wavstream.api.registry import FACADES

DESK, EVIL = "https://desk.example.com", "https://evil.example"
KEY = "right-key-of-the-default-app"


def allowed(answer: httpx.Response) -> str | None:
    """Return whose pages may read an answer."""
    found: str | None = answer.headers.get("access-control-allow-origin")
    return found


async def finished(client: Recorder) -> str:
    """Record half a second; return the address of the file."""
    recording = await client.start("call-77")
    async with client.connect(f"/media/pcm/call-77/a?token={KEY}") as leg:
        await leg.send(bytes(8_000))
        await client.until_received("call-77", 500)
    return str((await client.until(recording))["url"])


async def test_a_player_of_a_listed_origin_seeks_in_a_file_and_asks_the_api(tmp_path: Path) -> None:
    async with recorder(tmp_path, api_key=KEY, cors_origins=(DESK,)) as (client, _):
        client.http.headers["Authorization"] = f"Bearer {KEY}"
        url = await finished(client)
        del client.http.headers["Authorization"]
        for path in (urlsplit(url).path, "/v1/recordings", "/v2/recordings", "/api/v1/sessions/a/commands/record/stop"):
            wish = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "range, authorization"}
            answer = await client.http.options(path, headers={"Origin": DESK, **wish})
            assert (answer.status_code, allowed(answer)) == (200, DESK), path
            assert "Range" in answer.headers["access-control-allow-headers"]
            refused = await client.http.options(path, headers={"Origin": EVIL, **wish})
            assert (refused.status_code, allowed(refused)) == (400, None)
            assert refused.headers["content-type"] == "application/problem+json"
            assert refused.json()["detail"] == "Disallowed CORS origin."

        part = await client.http.get(url, headers={"Origin": DESK, "Range": "bytes=0-3"})
        assert (part.status_code, part.content, allowed(part), part.headers["vary"]) == (206, b"RIFF", DESK, "Origin")
        shown = part.headers["access-control-expose-headers"].split(", ")
        assert {"ETag", "Content-Range", "Accept-Ranges", "Content-Length", "Content-Disposition"} <= {*shown}
        again = await client.http.get(url, headers={"Origin": DESK, "If-None-Match": part.headers["etag"]})
        assert (again.status_code, allowed(again)) == (304, DESK)
        assert allowed(await client.http.get(url, headers={"Origin": EVIL})) is None

        refused = await client.http.get("/v1/recordings", headers={"Origin": DESK})
        assert (refused.status_code, allowed(refused)) == (401, DESK)  # a page can tell why
        for path in ("/metrics", "/healthz", "/health", "/admin/apps"):
            assert allowed(await client.http.get(path, headers={"Origin": DESK})) is None, path


async def test_a_page_of_another_origin_has_no_more_on_loopback_without_a_key_than_before(tmp_path: Path) -> None:
    async with recorder(tmp_path, cors_origins=("*",)) as (client, _):
        assert (await client.http.get("/v1/recordings")).status_code == 200
        for origin in (DESK, "null"):
            answer = await client.http.get("/v1/recordings", headers={"Origin": origin})
            assert (answer.status_code, allowed(answer)) == (401, "*")
    async with recorder(tmp_path, allowed_origins=(DESK,)) as (client, _):
        answer = await client.http.options("/v1/recordings", headers={"Origin": DESK})
        assert (answer.status_code, allowed(answer)) == (401, None)


async def test_the_page_of_the_api_works_below_a_path_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    async with (
        recorder(tmp_path, public_url="https://example.com/rec") as (_, service),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{service.settings.port}") as http,
    ):
        page = (await http.get("/docs")).text
        asked = re.findall(r'(?:src|href|url)["\']?\s*[=:]\s*["\']([^"\']+)["\']', page)
        assert {"openapi.json", "docs/swagger-ui-bundle.js", "docs/swagger-ui.css", "docs/begin.js"} < {*asked}
        assert "<script>" not in page
        assert "//" not in "".join(asked)
        for address in asked:
            seen = urlsplit(urljoin("https://example.com/rec/docs", address)).path
            assert seen.startswith("/rec/")
            answer = await http.get(seen.removeprefix("/rec"))  # as the proxy passes it on
            assert (answer.status_code, len(answer.content) > 400) == (200, True), address
        document = (await http.get("/openapi.json")).json()
        assert [each["url"] for each in document["servers"]] == ["/rec", "/"]
        for name in ("gateway", *(facade.name for facade in FACADES)):
            assert (await http.get(f"/openapi/{name}.json")).json()["servers"] == document["servers"], name
        nothing = await http.get("/docs/..%2f..%2fpyproject.toml")
        assert nothing.status_code == 404
        assert (await http.get("/docs/none.js")).headers["content-type"] == "application/problem+json"
