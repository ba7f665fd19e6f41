"""What ``play`` plays: recordings by their links, in pieces and at every rate, and what is said where nobody hears."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import obstore
import pytest

from tests.support.waiting import until
from tests.unit.api.fakes import START
from tests.unit.api.signalwire.conftest import CALL, STORE
from tests.unit.api.signalwire.swml.conftest import RATE_HZ, RECORDED, Swml
from wavstream.api.signalwire.swml import player
from wavstream.conversion.reading import Sound, read_sound
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import Recording, Status, StoredObject
from wavstream.rendering.codecs.resample import Resampler
from wavstream.storage.links import PublicUrls

NOBODY = "nobody could hear it: no stream of the call takes audio"


async def recorded(swml: Swml, *, app_id: str = "shop", samples: Any = RECORDED) -> Recording:
    """Return a finished recording of an earlier call."""
    swml.commands.stream("earlier", app_id)
    recording = await swml.commands.start(app_id=app_id, session_id="earlier", options=RecordingOptions())
    return swml.commands.publish(recording, samples)


@pytest.mark.parametrize("form", ["url", "urls", "text", "list"])
async def test_a_recording_is_played_by_its_own_url_in_every_form_of_play(swml: Swml, form: str) -> None:
    url = swml.parts.urls.of(await recorded(swml))

    forms = {"url": {"url": url}, "urls": {"urls": [url]}, "text": url, "list": [url]}
    run = await swml.main({"play": forms[form]})

    assert (run["status"], run["steps"][0]["note"]) == ("completed", None)
    assert np.array_equal(swml.heard(), RECORDED)
    assert swml.time.now_s == 2.0


@pytest.mark.parametrize("ext", ["wav", "mp3"])
async def test_a_recording_is_played_by_a_signed_link_until_that_ends(swml: Swml, ext: str) -> None:
    recording = await recorded(swml)
    path = swml.parts.urls.links.signed_path(recording, now=START, ttl_s=600, ext=ext)

    run = await swml.main({"play": f"https://rec.example.com{path}"})
    swml.commands.clock.move(seconds=600)
    too_late = await swml.main({"play": f"https://rec.example.com{path}"})

    assert run["status"] == "completed"
    assert np.array_equal(swml.heard(), RECORDED)
    assert too_late["error"] == ("step 0 (play): the link has ended: use a new one, or the recording's own URL")


async def test_both_channels_are_heard(swml: Swml) -> None:
    left, right = np.full(RATE_HZ, 30_000, np.int16), np.full(RATE_HZ, -20_000, np.int16)
    right[: RATE_HZ // 2] = 20_000
    url = swml.parts.urls.of(await recorded(swml, samples=np.stack([left, right], axis=1)))

    await swml.main({"play": url})

    expected = np.where(np.arange(RATE_HZ) < RATE_HZ // 2, 32_767, 10_000)
    assert np.array_equal(swml.heard(), expected)


@pytest.mark.parametrize(("volume", "factor"), [(0, 1.0), (20, 10.0), (-20.0, 0.1)])
async def test_it_is_as_loud_as_the_document_says(swml: Swml, volume: float, factor: float) -> None:
    samples = np.full(RATE_HZ, 1_000, np.int16)
    url = swml.parts.urls.of(await recorded(swml, samples=samples))

    await swml.main({"play": {"url": url, "volume": volume}})

    assert np.array_equal(swml.heard(), samples * factor)


async def test_each_stream_hears_it_at_its_own_rate(swml: Swml) -> None:
    swml.commands.rates = {8_000, 16_000}
    url = swml.parts.urls.of(await recorded(swml))

    await swml.main({"play": url})

    resampler = Resampler(8_000, 16_000)
    assert np.array_equal(swml.heard(8_000), RECORDED)
    assert np.array_equal(swml.heard(16_000), np.concatenate((resampler.feed(RECORDED), resampler.finish())))


async def test_what_is_long_is_played_in_pieces_that_follow_each_other_without_a_gap(swml: Swml) -> None:
    samples = np.arange(17 * RATE_HZ, dtype=np.int16)
    url = swml.parts.urls.of(await recorded(swml, samples=samples))

    await swml.main({"play": url})

    pieces = swml.commands.played
    assert np.array_equal(swml.heard(), samples)
    assert [len(piece.by_rate[RATE_HZ]) / RATE_HZ for piece in pieces] == [5, 5, 5, 2]
    assert [piece.at_s for piece in pieces] == [0, 0, 5, 10]  # each while the one before it is heard
    assert all(piece.after for piece in pieces)
    assert swml.time.now_s == 17.0


async def test_of_a_very_long_recording_the_beginning_is_played(swml: Swml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(player, "LONGEST_S", 1)
    url = swml.parts.urls.of(await recorded(swml))

    run = await swml.main({"play": url})

    assert np.array_equal(swml.heard(), RECORDED[:RATE_HZ])
    assert run["steps"][0]["note"] == "only the first 1 s were played"


async def test_two_documents_are_heard_one_behind_the_other(swml: Swml, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[object] = []

    def counted(opening: Callable[[], io.BufferedReader], *, at_most_s: float) -> Sound:
        reads.append(opening)
        return read_sound(opening, at_most_s=at_most_s)

    monkeypatch.setattr(player, "read_sound", counted)
    swml.stand_still_until(still := asyncio.Event())
    url = swml.parts.urls.of(await recorded(swml))
    first = await swml.start({"sections": {"main": [{"play": url}]}})
    await until(lambda: swml.commands.played)
    second = await swml.start({"sections": {"main": [{"play": url}]}})
    await until(lambda: len(reads) == 2)
    for _ in range(20):  # nothing happens: the second waits for its turn
        await asyncio.sleep(0.005)
    assert len(swml.commands.played) == 1

    still.set()
    runs = [await swml.ended(run) for run in (first, second)]

    assert [run["status"] for run in runs] == ["completed", "completed"]
    assert [piece.at_s for piece in swml.commands.played] == [0.0, 2.0]


# ---- what cannot be played ------------------------------------------------------------------------------------------


async def test_where_no_stream_takes_audio_the_run_says_so_and_goes_on(swml: Swml) -> None:
    swml.commands.rates = set()
    url = swml.parts.urls.of(await recorded(swml))

    run = await swml.main({"play": [url, url, "silence:1"]})

    assert (run["status"], run["steps"][0]["note"]) == ("completed", NOBODY)
    assert swml.time.now_s == 1.0


async def test_a_recording_of_another_app_is_not_played(swml: Swml) -> None:
    url = swml.parts.urls.of(await recorded(swml, app_id="bank"))

    run = await swml.main({"play": url})

    assert run["error"] == "step 0 (play): there is no such recording"
    assert swml.commands.played == []


async def test_a_recording_that_runs_is_not_played(swml: Swml) -> None:
    run = await swml.main("record_call", {"play": "${record_call_url}"})

    assert run["error"] == "step 1 (play): the recording still runs: stop it before it is played"


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (Status.ABSENT, "the recording has no file: it is absent"),
        (Status.FAILED, "the recording has no file: it is failed"),
        (Status.DELETED, "the recording has no file: it is deleted"),
    ],
)
async def test_a_recording_without_a_file_is_not_played(swml: Swml, status: Status, why: str) -> None:
    recording = await recorded(swml)
    swml.commands.put(recording.became(status, START))

    run = await swml.main({"play": swml.parts.urls.of(recording)})

    assert run["error"] == f"step 0 (play): {why}"


async def test_a_recording_whose_retention_is_over_is_not_played(swml: Swml) -> None:
    url = swml.parts.urls.of(await recorded(swml))
    swml.commands.clock.move(hours=24)

    run = await swml.main({"play": url})

    assert run["error"] == "step 0 (play): the recording has no file: it is expired"


async def test_a_file_that_was_erased_meanwhile_is_told(swml: Swml) -> None:
    recording = await recorded(swml)
    swml.storage.path(recording.object_key).unlink()

    run = await swml.main({"play": swml.parts.urls.of(recording)})

    assert run["error"] == "step 0 (play): the recording was erased"


async def uploaded(swml: Swml) -> Recording:
    """Return a finished recording whose file is in the store, and not here."""
    recording = await recorded(swml)
    path = swml.storage.path(recording.object_key)
    done = obstore.put(swml.bucket, recording.object_key, path.read_bytes())
    path.unlink()
    return swml.commands.put(replace(recording, receipt=None, stored=StoredObject(STORE, START, done["e_tag"])))


async def test_a_recording_in_a_store_is_played(swml: Swml) -> None:
    run = await swml.main({"play": swml.parts.urls.of(await uploaded(swml))})

    assert (run["status"], run["steps"][0]["note"]) == ("completed", None)
    assert np.array_equal(swml.heard(), RECORDED)


async def test_a_file_that_is_gone_from_its_store_is_told(swml: Swml) -> None:
    recording = await uploaded(swml)
    obstore.delete(swml.bucket, recording.object_key)

    run = await swml.main({"play": swml.parts.urls.of(recording)})

    assert run["error"] == "step 0 (play): the recording's file is gone from the store"


async def test_a_variable_that_is_no_url_of_ours_is_not_played(swml: Swml) -> None:
    run = await swml.main(
        {"record_call": {"control_id": "https://elsewhere.example/a.wav"}}, {"play": "${record_control_id}"}
    )

    assert run["steps"][1]["status"] == "failed"
    assert "is not the URL of a recording of this server" in run["error"]


async def test_recordings_under_the_address_of_a_store_are_played_back_too(swml: Swml) -> None:
    urls = PublicUrls(swml.parts.urls.links, "https://rec.example.com", "https://store.example/recordings")
    swml = swml.with_parts(replace(swml.parts, urls=urls))

    run = await swml.main("record_call", "stop_record_call", {"play": "%{record_call_url}"})

    assert run["status"] == "completed"
    assert run["variables"]["record_call_url"].startswith("https://store.example/recordings/")
    assert np.array_equal(swml.heard(), RECORDED)


async def test_a_stream_that_leaves_takes_the_run_with_it(swml: Swml) -> None:
    url = swml.parts.urls.of(await recorded(swml, samples=np.zeros(30 * RATE_HZ, np.int16)))
    swml.time.at(12, lambda: swml.commands.hang_up(CALL))

    run = await swml.main({"play": url})

    assert (run["status"], run["error"]) == ("failed", "the call has ended")
    assert len(swml.commands.played) == 4


async def test_a_call_that_has_ended_hears_nothing(swml: Swml) -> None:
    url = swml.parts.urls.of(await recorded(swml))
    swml.stand_still_until(still := asyncio.Event())
    run_url = await swml.start({"sections": {"main": [{"play": ["silence:1", url]}]}})
    swml.commands.hang_up()
    still.set()

    assert (await swml.ended(run_url))["error"] == "the call has ended"
