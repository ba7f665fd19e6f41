"""``say:`` with the engine that speaks, and without."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
import structlog.testing
from numpy.typing import NDArray

from tests.unit.api.signalwire.swml.conftest import Swml
from wavstream.api.signalwire.swml import speech
from wavstream.api.signalwire.swml.speech import LONGEST_S, NoSuchLanguage, can_speak, speak
from wavstream.errors import OperatorError

speaks = pytest.mark.skipif(not can_speak(), reason="nothing speaks here: pip install 'wavstream[say]'")


def loudness(samples: NDArray[np.int16], windows: int = 60) -> NDArray[np.float64]:
    """Return how loud a sound is in each of so many parts of it."""
    parts = np.array_split(samples.astype(np.float64), windows)
    return np.array([np.sqrt(np.mean(part**2)) for part in parts])


def is_said(samples: NDArray[np.int16], text: str, language: str = "en-US", rate_hz: int = 8_000) -> bool:
    """Return whether this is the text, as it is spoken: the engine breathes a little differently each time."""
    spoken = speak(text, language).at(rate_hz).samples
    alike = np.corrcoef(loudness(samples), loudness(spoken))[0, 1]
    return bool(alike > 0.95 and abs(len(samples) / len(spoken) - 1) < 0.03)


# ---- the engine -----------------------------------------------------------------------------------------------------


@speaks
def test_a_text_becomes_speech_of_its_length() -> None:
    short, long = speak("Hello."), speak("Leave your message after the tone, and press hash when you are done.")

    assert 0.3 < short.length_s < 1.5 < long.length_s < 8
    for sound in (short, long):
        assert sound.is_whole
        assert sound.samples.dtype == np.int16
        assert np.abs(sound.samples).max() > 3_000


@speaks
def test_a_text_sounds_the_same_whatever_was_said_before_it_and_no_other_does() -> None:
    first = speak("Playing back").samples
    speak("Etwas anderes", "de-DE")

    assert is_said(first, "Playing back", rate_hz=22_050)
    assert not is_said(first, "Playing bark", rate_hz=22_050)
    assert not is_said(first, "Playing back", "de-DE", rate_hz=22_050)


@speaks
@pytest.mark.parametrize("language", ["en-US", "en", "de-DE", "fr-FR", "es-MX", "pt-BR", "zh-CN", "ja-JP"])
def test_many_languages_are_spoken(language: str) -> None:
    assert speak("12", language).length_s > 0.2


@speaks
@pytest.mark.parametrize("language", ["xx", "tlh-XX"])
def test_a_language_without_a_voice_is_told(language: str) -> None:
    with pytest.raises(NoSuchLanguage):
        speak("Hello", language)


@speaks
@pytest.mark.parametrize(
    "text", ["\x00\x01\x1b", "a\x00b", "\U0001f600" * 50, "<speak>hi</speak>", "[[h@l'oU]]", "%s%n"]
)
def test_any_text_is_taken(text: str) -> None:
    assert speak(text).length_s >= 0


@speaks
def test_what_becomes_very_long_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "LONGEST_S", 2)

    cut = speak("one two three " * 50)
    whole = speak("one")

    assert not cut.is_whole
    assert 2 <= cut.length_s < 3
    assert whole.is_whole
    assert LONGEST_S == 600


@speaks
async def test_those_who_speak_at_the_same_time_wait_for_each_other() -> None:
    texts = ["Leave your message now", "Recording seven", "Playing back what was said"]

    sounds = await asyncio.gather(*(asyncio.to_thread(speak, text) for text in texts))

    assert all(is_said(sound.samples, text, rate_hz=22_050) for sound, text in zip(sounds, texts, strict=True))


# ---- in a document --------------------------------------------------------------------------------------------------


@speaks
async def test_a_text_is_spoken_to_the_call(swml: Swml) -> None:
    run = await swml.main({"play": {"urls": ["say:Leave your message now", "silence:1"], "say_language": "en-GB"}})

    assert (run["status"], run["steps"][0]["note"]) == ("completed", None)
    assert is_said(swml.heard(), "Leave your message now", "en-GB")
    assert swml.time.now_s == pytest.approx(len(swml.heard()) / 8_000 + 1, abs=0.01)


@speaks
async def test_variables_are_spoken(swml: Swml) -> None:
    await swml.main({"record_call": {"control_id": "seven"}}, {"play": "say:Recording ${record_control_id}"})

    assert is_said(swml.heard(), "Recording seven")


@speaks
async def test_a_text_in_a_language_without_a_voice_is_skipped_and_told(swml: Swml) -> None:
    run = await swml.main({"play": {"urls": ["say:nuqneH", "silence:1"], "say_language": "tlh-KX"}})

    note = "say: was skipped, there is no voice for the language tlh-KX"
    assert (run["status"], run["steps"][0]["note"]) == ("completed", note)
    assert swml.time.now_s == 1.0


@pytest.fixture
def nothing_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for a package that is not installed."""
    monkeypatch.setattr(speech, "_PACKAGE", "a_package_that_is_not_there")


@pytest.mark.usefixtures("nothing_speaks")
async def test_without_the_extra_a_text_is_skipped_and_the_run_says_what_to_install(swml: Swml) -> None:
    run = await swml.main({"play": ["say:one", "say:two", "silence:1"]}, "record_call")

    note = "say: was skipped, nothing speaks here: install wavstream[say]"
    assert not can_speak()
    assert (run["status"], run["steps"][0]["note"]) == ("completed", note)
    assert run["steps"][1]["status"] == "completed"
    assert swml.commands.played == []


@pytest.mark.parametrize("package", ["json", "a_package_that_is_not_there"])
async def test_an_extra_that_is_broken_fails_the_step_and_is_logged(
    swml: Swml, package: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speech, "_PACKAGE", package)
    monkeypatch.setattr(speech, "can_speak", lambda: True)
    speech._engine.cache_clear()

    with structlog.testing.capture_logs() as logs:
        run = await swml.main({"play": "say:hello"})

    speech._engine.cache_clear()
    assert run["steps"][0]["note"] == OperatorError.public_text
    assert [each["event"] for each in logs] == ["swml_step_failed"]
    assert "install wavstream[say] again" in str(logs[0]["exc_info"])
