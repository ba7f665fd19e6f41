"""What a recording is called before anything of it is on a disk."""

from __future__ import annotations

from dataclasses import replace

from tests.support.sessions import OPTIONS
from wavstream.model.options import FileFormat, RecordingOptions
from wavstream.sessions.new_recordings import NewRecordings
from wavstream.storage.object_keys import KeyTemplate

NAMED = replace(OPTIONS, file_name="offer")


class Maker:
    """Asks for recordings at 1,800,000,000 s and later."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0
        self._make = NewRecordings(keys=KeyTemplate(), now_us=lambda: int(self.now_s * 1e6))

    def name(self, session_id: str = "call-77", options: RecordingOptions = OPTIONS, app_id: str = "default") -> str:
        return self._make(app_id=app_id, session_id=session_id, options=options).file_name


def test_recordings_of_one_session_and_second_have_names_of_their_own_in_any_format() -> None:
    maker = Maker()
    mp3 = replace(OPTIONS, format=FileFormat.MP3)

    names = [maker.name(), maker.name(options=mp3), maker.name(), maker.name("call-78"), maker.name(app_id="other")]
    maker.now_s += 1
    names.append(maker.name())

    assert names == [
        "call-77-1800000000.wav",
        "call-77-1800000000-2.mp3",
        "call-77-1800000000-3.wav",
        "call-78-1800000000.wav",
        "call-77-1800000000.wav",
        "call-77-1800000001.wav",
    ]


def test_recordings_that_were_asked_to_be_called_the_same_are_not() -> None:
    maker = Maker()
    assert [maker.name(f"call-{number}", NAMED) for number in range(2)] == [
        "offer-1800000000.wav",
        "offer-1800000000-2.wav",
    ]
