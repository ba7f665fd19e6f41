"""What was uploaded to a real S3 server is fetched, looked at, verified, held and erased as what lies here."""

from __future__ import annotations

import asyncio
import contextlib
import io
import sqlite3
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from rich.console import Console

from tests.support.listening import beeps, find_beeps
from tests.support.recorder import Recorder, Wall, hear, recorder
from tests.support.uploaded import uploaded
from tests.support.waiting import until
from tests.support.weed import READ_ONLY_KEY, Weed
from wavstream.cli.verify import NotVerified, run_verify
from wavstream.service.service import Service
from wavstream.settings import Settings, StorageSettings
from wavstream.simulator.caller import Leg
from wavstream.storage.stores import make_store

RATE_HZ = 8000
SAID = beeps(30.0, rate_hz=RATE_HZ, frequency_hz=600.0, offset_s=0.3)
HOLD = {"by": "legal", "reason": "case 4711"}
BOTH = pytest.mark.parametrize("links", ["redirect", "serve"])


@contextlib.asynccontextmanager
async def served(
    folder: Path, weed: Weed, links: str, *, wall: Wall | None = None, **storage: Any
) -> AsyncIterator[tuple[Recorder, Service]]:
    """Run a server whose store is below the name of the test's folder."""
    chosen = weed.settings(folder.name, links=links, **storage)
    async with recorder(folder, wall=wall, storage=chosen, retention={"sweep_interval_s": 0.05}) as (client, service):
        client.http.follow_redirects = True
        yield client, service


async def recorded(client: Recorder, session_id: str = "call-77", **options: object) -> dict[str, Any]:
    """Return a recording of a call that is over, with its file."""
    recording = await client.start(session_id, **options)
    await client.play_at_once(session_id, Leg("a", SAID[:, None], RATE_HZ))
    return await client.until(recording)


def links_of(recording: dict[str, Any]) -> list[str]:
    """Every way to the file: its own link, a link that is signed for a while, and the player's."""
    return [recording["url"], f"/v1/recordings/{recording['id']}.wav", f"/v1/recordings/{recording['id']}/audio.wav"]


def objects_of(weed: Weed, folder: Path, recording: dict[str, Any]) -> list[str]:
    return [key.rpartition("/")[2] for key in weed.objects(folder.name) if recording["id"] in key]


@pytest.mark.parametrize("place", ["here", "serve", "redirect"])
async def test_every_way_to_a_file_gives_it_whole_and_in_part_wherever_it_lies(
    tmp_path: Path, weed: Weed, place: str
) -> None:
    async with served(tmp_path, weed, "serve" if place == "here" else place) as (client, service):
        recording = await recorded(client, file_name="talk")
        file = await client.http.get(recording["url"])
        if place != "here":
            await uploaded(service, recording)
        size, got = len(file.content), {}
        for link in links_of(recording):
            whole, head = await client.http.get(link), await client.http.head(link)
            etag = whole.headers["etag"]
            got[link] = [
                (each.status_code, each.content, each.headers.get("content-range"))
                for each in (
                    whole,
                    head,
                    await client.http.get(link, headers={"Range": "bytes=100-299"}),
                    await client.http.get(link, headers={"Range": "bytes=-10"}),
                    await client.http.get(link, headers={"Range": "bytes=0-9", "If-Range": etag}),
                    await client.http.get(link, headers={"If-None-Match": etag}),
                    await client.http.get(link, headers={"If-Match": '"other"'}),
                )
            ]
            for each in (whole, head):
                assert each.headers["content-type"] == "audio/wav"
                assert each.headers["content-length"] == str(size)
                assert each.headers["accept-ranges"] == "bytes"
                assert recording["file_name"] in each.headers["content-disposition"]
            assert head.headers["etag"] == etag
            beyond = await client.http.get(link, headers={"Range": f"bytes={size}-"})
            assert beyond.status_code == 416
            is_stores = whole.history and "X-Amz-Signature" in str(whole.url)
            assert bool(is_stores) is (place == "redirect" and not link.endswith("audio.wav"))

    samples, rate_hz = hear(file.content)
    assert len(find_beeps(samples[:, 0], rate_hz, 600.0)) == len(find_beeps(SAID, RATE_HZ, 600.0))
    for answers in got.values():
        assert answers == [
            (200, file.content, None),
            (200, b"", None),
            (206, file.content[100:300], f"bytes 100-299/{size}"),
            (206, file.content[-10:], f"bytes {size - 10}-{size - 1}/{size}"),
            (206, file.content[:10], f"bytes 0-9/{size}"),
            (304, b"", None),
            (412, answers[6][1], None),
        ]


async def test_a_link_leads_to_an_address_that_opens_for_a_while_and_to_a_new_one_each_time(
    tmp_path: Path, weed: Weed
) -> None:
    async with served(tmp_path, weed, "redirect", signed_s=10) as (client, service):
        recording = await recorded(client)
        file = await client.fetch(recording)
        await uploaded(service, recording)
        answer = await client.http.get(recording["url"], follow_redirects=False)
        address = answer.headers["location"]
        async with httpx.AsyncClient() as anyone:
            in_time = await anyone.get(address)
            changed = await anyone.get(address.replace("X-Amz-Expires=10", "X-Amz-Expires=9999"))

            async def refused() -> bool:
                return (await anyone.get(address)).status_code == 403

            await until(refused)
        again = await client.http.get(recording["url"])

    assert file == in_time.content == again.content
    assert (answer.status_code, answer.headers["cache-control"], answer.content) == (307, "no-store", b"")
    assert address.startswith(f"{weed.endpoint}/{weed.bucket}/{tmp_path.name}/")
    assert parse_qs(urlsplit(address).query)["X-Amz-Expires"] == ["10"]
    assert (changed.status_code, again.status_code) == (403, 200)


@BOTH
async def test_the_other_format_the_waveform_and_the_verification_are_those_of_the_file_that_was_here(
    tmp_path: Path, weed: Weed, links: str
) -> None:
    async with served(tmp_path, weed, links) as (client, service):
        recording = await recorded(client)
        of = f"/v1/recordings/{recording['id']}"
        asked = [f"{of}.mp3", f"{of}/audio.mp3", f"{of}/waveform", f"{of}/waveform?from=3&to=9&format=dat"]
        asked.append(f"{of}/regions")
        before = [await client.http.get(each) for each in asked]
        row = await uploaded(service, recording)
        after = [await client.http.get(each) for each in asked]
        part = await client.http.get(f"{of}.mp3", headers={"Range": "bytes=1000-1999"})
        verified = await client.http.post(f"{of}/verify")
        weed.delete(f"{tmp_path.name}/{row.object_key}.waveform")
        made = await client.http.get(f"{of}/waveform", headers={"Cache-Control": "no-cache"})
        spool = await asyncio.to_thread(lambda: [each.name for each in (tmp_path / "spool").iterdir()])

    assert [(each.status_code, each.content) for each in after] == [(200, each.content) for each in before]
    assert (part.status_code, part.content) == (206, before[0].content[1000:2000])
    assert (verified.status_code, verified.json()["verified"], verified.json()["differences"]) == (200, True, [])
    assert made.json()["data"] == before[2].json()["data"]
    assert f"{tmp_path.name}/{row.object_key}.waveform" in weed.objects(tmp_path.name)
    assert spool == [f"{recording['id']}-2.mp3-copy"]


@BOTH
async def test_an_erasure_leaves_nothing_in_the_store_and_every_way_to_it_ends(
    tmp_path: Path, weed: Weed, links: str
) -> None:
    async with served(tmp_path, weed, links) as (client, service):
        kept, erased = await recorded(client, "call-1"), await recorded(client, "call-2")
        for each in (kept, erased):
            await uploaded(service, each)
        await client.http.get(f"/v1/recordings/{erased['id']}.mp3")
        assert len(objects_of(weed, tmp_path, erased)) == 3
        answer = await client.http.delete(f"/v1/recordings/{erased['id']}")
        left = objects_of(weed, tmp_path, erased)
        ways = [await client.http.get(each) for each in links_of(erased)]
        still = await client.http.get(kept["url"])
        spool = await asyncio.to_thread(lambda: list((tmp_path / "spool").iterdir()))

    assert (answer.status_code, left, spool) == (204, [], [])
    assert [each.status_code for each in ways] == [404] * 3
    assert (still.status_code, len(objects_of(weed, tmp_path, kept))) == (200, 3)


@BOTH
async def test_retention_reaches_the_store_and_a_hold_keeps_it_there_until_it_is_released(
    tmp_path: Path, weed: Weed, links: str
) -> None:
    wall = Wall()
    async with served(tmp_path, weed, links, wall=wall) as (client, service):
        held, over = await recorded(client, "call-1"), await recorded(client, "call-2")
        for each in (held, over):
            await uploaded(service, each)
        assert (await client.http.post(f"/v1/recordings/{held['id']}/hold", json=HOLD)).status_code == 200
        wall.ahead = timedelta(hours=24, seconds=1)
        await until(lambda: not objects_of(weed, tmp_path, over))
        refused = await client.http.delete(f"/v1/recordings/{held['id']}")
        wall.ahead = timedelta(hours=24)  # a signed address is of the store's own clock
        kept = await client.http.get(held["url"])
        expired = await client.http.get(over["url"], follow_redirects=False)
        wall.ahead = timedelta(hours=25)
        await client.http.delete(f"/v1/recordings/{held['id']}/hold")
        await until(lambda: not objects_of(weed, tmp_path, held))

    assert (refused.status_code, kept.status_code, expired.status_code, expired.content) == (409, 200, 404, b"")


@BOTH
async def test_a_file_that_was_deleted_or_changed_in_the_bucket_is_noticed(
    tmp_path: Path, weed: Weed, links: str
) -> None:
    async with served(tmp_path, weed, links) as (client, service):
        changed, gone = await recorded(client, "call-1"), await recorded(client, "call-2")
        rows = [await uploaded(service, each) for each in (changed, gone)]
        key = f"{tmp_path.name}/{rows[0].object_key}"
        file = bytearray(weed.read(key))
        file[5_000] ^= 1
        weed.put(key, bytes(file))
        weed.delete(f"{tmp_path.name}/{rows[1].object_key}")
        answers = {id(each): [await client.http.get(link) for link in links_of(each)] for each in (changed, gone)}
        verified = await client.http.post(f"/v1/recordings/{changed['id']}/verify")
        metrics = (await client.http.get("/metrics")).text

    assert [each.status_code for each in answers[id(changed)]] == [502] * 3
    assert [each.status_code for each in answers[id(gone)]] == [404] * 3
    assert all("gone from the store" in each.json()["detail"] for each in answers[id(gone)])
    assert verified.json()["differences"] == ["its audio has another hash"]
    assert 'wavstream_stored_files_wrong_total{problem="gone"} 3.0' in metrics
    assert 'wavstream_stored_files_wrong_total{problem="replaced"} 3.0' in metrics


@BOTH
async def test_a_file_that_was_put_back_or_copied_in_the_bucket_is_handed_out_though_its_etag_is_another(
    tmp_path: Path, weed: Weed, links: str
) -> None:
    async with served(tmp_path, weed, links) as (client, service):
        recording = await recorded(client)
        file = await client.fetch(recording)
        row = await uploaded(service, recording)
        assert row.stored is not None
        key = f"{tmp_path.name}/{row.object_key}"
        weed.put(key, file[:-1] + bytes([file[-1] ^ 1]))
        changed = [await client.http.get(link) for link in links_of(recording)]
        weed.put_in_parts(key, file)
        found = await service.stores[row.stored.url].head(row.object_key)
        again = await asyncio.gather(*(client.http.get(link) for link in links_of(recording)))
        wrong = dict(service.files.wrong)

    assert found is not None
    assert found.etag != row.stored.etag, "or this shows nothing"
    assert [each.status_code for each in changed] == [502] * 3
    assert [(each.status_code, each.content == file) for each in again] == [(200, True)] * 3
    assert wrong == {"replaced": 3}


@BOTH
async def test_while_the_store_is_away_links_say_when_to_try_again_and_erasures_are_done_when_it_is_back(
    tmp_path: Path, weed: Weed, links: str
) -> None:
    wall = Wall()
    async with served(tmp_path, weed, links, wall=wall) as (client, service):
        kept, erased = await recorded(client, "call-1"), await recorded(client, "call-2")
        for each in (kept, erased):
            await uploaded(service, each)
        weed.kill()
        try:
            ways = [await client.http.get(each) for each in links_of(kept)]
            answer = await client.http.delete(f"/v1/recordings/{erased['id']}")
            gone = await client.http.get(erased["url"])
            shown = (await client.http.get("/metrics")).text
        finally:
            weed.start()
        assert len(objects_of(weed, tmp_path, erased)) == 3
        wall.ahead = timedelta(hours=1)
        await until(lambda: not objects_of(weed, tmp_path, erased))
        wall.ahead = timedelta(0)

        async def back() -> bool:  # it takes requests before it finds all of its files again
            with contextlib.suppress(httpx.RemoteProtocolError):
                return (await client.http.get(kept["url"])).status_code == 200
            return False

        await until(back)

    assert [(each.status_code, each.headers["retry-after"]) for each in ways] == [(503, "5")] * 3
    assert (answer.status_code, gone.status_code) == (503, 404)
    assert "could not be removed yet" in answer.json()["detail"]
    assert "wavstream_removals_failing" in shown


async def test_where_nothing_may_be_deleted_the_recording_is_erased_and_what_stays_is_shown(
    tmp_path: Path, weed: Weed
) -> None:
    async with served(tmp_path, weed, "serve") as (client, service):
        recording = await recorded(client)
        await uploaded(service, recording)
        chosen = StorageSettings(**(weed.settings(tmp_path.name) | {"access_key_id": READ_ONLY_KEY}))
        assert chosen.url is not None
        service.stores.first = make_store(chosen.url, chosen, endpoint=chosen.endpoint)
        answer = await client.http.delete(f"/v1/recordings/{recording['id']}")
        link = await client.http.get(recording["url"])

        async def shown() -> bool:
            return "wavstream_removals_failing 1.0" in (await client.http.get("/metrics")).text

        await until(shown)
        row = await client.get(recording)

    assert (answer.status_code, link.status_code, row["status"]) == (503, 404, "deleted")
    assert len(objects_of(weed, tmp_path, recording)) == 3


async def test_the_command_that_verifies_reads_the_file_in_the_store(tmp_path: Path, weed: Weed) -> None:
    async with served(tmp_path, weed, "serve") as (client, service):
        recording = await recorded(client)
        row = await uploaded(service, recording)
    settings = Settings(data_dir=tmp_path, storage=StorageSettings(**weed.settings(tmp_path.name)))
    said = io.StringIO()
    await run_verify(recording["id"], settings, Console(file=said, width=200))
    key = f"{tmp_path.name}/{row.object_key}"
    weed.put(key, weed.read(key)[:-2] + b"\1\1")
    with pytest.raises(NotVerified, match="another hash"):
        await run_verify(recording["id"], settings, Console(file=said, width=200))
    weed.delete(key)
    with pytest.raises(NotVerified, match="gone"):
        await run_verify(recording["id"], settings, Console(file=said, width=200))

    assert f"s3://calls/{key}: as recorded (30." in said.getvalue()


@BOTH
async def test_what_is_in_the_store_is_there_after_a_restart_and_counts_for_no_disk(
    tmp_path: Path, weed: Weed, links: str
) -> None:
    async with served(tmp_path, weed, links) as (client, service):
        recording = await recorded(client)
        file = await client.fetch(recording)
        await uploaded(service, recording)
        await service.usage.look()
        before = sum(service.sessions.quotas.disk.values())
    async with served(tmp_path, weed, links) as (client, service):
        await until(lambda: service.recovery.reconciled)
        row = await client.get(recording)
        again = await client.fetch(row)
        await service.usage.look()
        after = sum(service.sessions.quotas.disk.values())

    assert (row["status"], again == file, before, after) == ("available", True, 0, 0)


@BOTH
async def test_a_recording_that_ended_behind_a_backup_of_the_catalog_is_found_in_the_store(
    tmp_path: Path, weed: Weed, links: str
) -> None:
    async with served(tmp_path, weed, links) as (client, service):
        recording = await recorded(client)
        file = await client.fetch(recording)
        row = await uploaded(service, recording)
    with contextlib.closing(sqlite3.connect(tmp_path / "catalog.db")) as catalog:
        catalog.execute(
            "UPDATE recordings SET status = 'ongoing', stored_json = NULL, receipt_json = NULL, ended_us = NULL,"
            " expires_us = NULL, end_reason = NULL, length_ms = NULL"
        )
        catalog.commit()
    async with served(tmp_path, weed, links) as (client, service):
        await until(lambda: service.recovery.reconciled)
        found = await client.get(recording)
        again = await client.fetch(found)
        row_now = await service.catalog.recordings.get(row.id)

    assert (found["status"], found["audio_sha256"]) == ("available", recording["audio_sha256"])
    assert again == file
    assert row_now is not None
    assert row_now.stored is not None


async def test_while_the_store_is_away_a_recording_that_may_be_there_is_left_for_the_next_start(
    tmp_path: Path, weed: Weed
) -> None:
    async with served(tmp_path, weed, "serve") as (client, service):
        recording = await recorded(client)
        await uploaded(service, recording)
    with contextlib.closing(sqlite3.connect(tmp_path / "catalog.db")) as catalog:
        catalog.execute("UPDATE recordings SET status = 'ongoing', stored_json = NULL, receipt_json = NULL")
        catalog.commit()
    async with served(tmp_path, weed, "serve", endpoint="http://127.0.0.1:9") as (client, service):
        await until(lambda: service.recovery.reconciled)
        while_away = await client.get(recording)
    async with served(tmp_path, weed, "serve") as (client, service):
        await until(lambda: service.recovery.reconciled)
        back = await client.get(recording)

    assert (while_away["status"], back["status"]) == ("ongoing", "available")
