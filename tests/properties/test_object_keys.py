"""Whatever a peer or an app calls its calls, keys of files are plain paths, and no two recordings have one."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.support.recordings import a_recording
from wavstream.model.call import CallFacts
from wavstream.model.ids import ids_in
from wavstream.model.options import FileFormat, RecordingOptions
from wavstream.model.recording import Recording
from wavstream.storage.object_keys import (
    BESIDE,
    KeyTemplate,
    base_key,
    copy_key,
    is_object_key,
    is_of_recording,
    plain_name,
    sidecar_key,
    waveform_key,
)

ODD = ["..", ".", "/", "../../etc/passwd", "a/../b", ".wav", "x.json", "x.wav.mp3-copy", "none", "plus49", "+49", "--"]
VALUES = st.one_of(
    st.text(max_size=300),
    st.text(st.sampled_from("+0123456789abcdef-._/ "), max_size=70),
    st.text(st.characters(), max_size=10),
    st.sampled_from(ODD),
)
FIELDS = ("app", "date", "year", "month", "day", "hour", "session", "session_id", "from", "to", "direction")
NAMES = st.sampled_from([*FIELDS, "metadata.a", "metadata.b c"])
IDS = st.text(st.sampled_from("0123456789abcdef"), min_size=32, max_size=32)


@st.composite
def templates(draw: st.DrawFn) -> KeyTemplate:
    """Draw a template: one or two fields in each of its folders, and the id at some place."""
    folders = draw(st.lists(st.lists(NAMES, min_size=1, max_size=2, unique=True), max_size=4))
    parts = [draw(st.sampled_from(["", "-", "_", "."])).join(f"{{{each}}}" for each in some) for some in folders]
    beside = draw(st.sampled_from(["{recording_id}", "{from}{recording_id}", "{recording_id}{session_id}"]))
    return KeyTemplate("/".join([*parts, beside + ".{ext}"]))


@st.composite
def recordings(draw: st.DrawFn) -> Recording:
    """Draw a recording whose words are all a peer's."""
    options = RecordingOptions(
        format=draw(st.sampled_from(FileFormat)), metadata=draw(st.dictionaries(st.sampled_from("a"), VALUES))
    )
    call = CallFacts(from_=draw(VALUES), to=draw(VALUES), direction=draw(VALUES))
    return replace(a_recording(draw(IDS), options, session_id=draw(VALUES)), call=call)


@given(template=templates(), recording=recordings())
def test_a_key_is_a_plain_path_of_as_many_folders_as_its_template(template: KeyTemplate, recording: Recording) -> None:
    key = template.key(recording)

    assert is_object_key(key)
    assert key.count("/") == template.text.count("/")
    assert not any(part.startswith(".") for part in key.split("/"))
    assert len(key) <= 768
    for each in (key, sidecar_key(key), waveform_key(key), *(copy_key(key, form) for form in FileFormat)):
        assert all(len(part.encode()) <= 255 for part in each.split("/"))
        assert base_key(each) == key
    assert not key.endswith(BESIDE)


@given(template=templates(), one=recordings(), other=recordings())
def test_two_recordings_have_two_keys_and_each_is_found_by_its_id(
    template: KeyTemplate, one: Recording, other: Recording
) -> None:
    keys = template.key(one), template.key(other)

    assert one.id == other.id or keys[0] != keys[1]
    for key, recording in zip(keys, (one, other), strict=True):
        assert recording.id in ids_in(key)
        assert is_of_recording(key)


@given(template=templates(), recording=recordings(), other_id=IDS)
def test_the_id_alone_keeps_two_recordings_of_one_call_apart(
    template: KeyTemplate, recording: Recording, other_id: str
) -> None:
    same = template.key(recording) == template.key(replace(recording, id=other_id))

    assert same is (recording.id == other_id)


@given(one=VALUES, other=VALUES)
def test_two_values_never_look_the_same(one: str, other: str) -> None:
    assert (plain_name(one) == plain_name(other)) is (one == other)


@given(value=VALUES)
def test_what_stands_for_a_value_cannot_be_given_as_another(value: str) -> None:
    name = plain_name(value)

    assert name == value or plain_name(name) != name


@given(value=VALUES)
def test_what_stands_for_a_value_is_short_and_no_option_of_a_program(value: str) -> None:
    name = plain_name(value)

    assert 1 <= len(name) <= 64
    assert name.isascii()
    assert name[0] not in "-."
