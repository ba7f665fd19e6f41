"""Capability URLs and signed links, as pure values."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from wavstream.errors import Forbidden
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import Recording, Status
from wavstream.storage.links import LinkKey, LinkKeys, VerifiedLink

START = datetime(2026, 8, 21, 12, tzinfo=UTC)
OLD = LinkKey(id="k1", secret=b"1" * 32, since=START - timedelta(days=1))
NEW = LinkKey(id="k2", secret=b"2" * 32, since=START + timedelta(days=1))
LINK_KEYS = LinkKeys((OLD,))

RECORDING = Recording(
    id="0d6c",
    app_id="default",
    session_id="call-77",
    status=Status.AVAILABLE,
    options=RecordingOptions(),
    object_key="default/0d6c.wav",
    file_name="call-77.wav",
    created_at=START,
)


def verify(keys: LinkKeys, link: str) -> VerifiedLink:
    """Return what a server makes of the link: the path percent-decoded, the query parsed."""
    parts = urlsplit(link)
    return keys.verify(unquote(parts.path), dict(parse_qsl(parts.query, keep_blank_values=True)))


def signed(keys: LinkKeys = LINK_KEYS, recording: Recording = RECORDING) -> str:
    return keys.signed_path(recording, now=START, ttl_s=600)


def test_a_capability_url_opens_its_recording_and_never_ends_by_itself() -> None:
    link = verify(LINK_KEYS, LINK_KEYS.capability_path(RECORDING))
    assert link == VerifiedLink("0d6c", "wav", None)
    assert not link.is_over(START + timedelta(days=36_500))


def test_a_signed_link_opens_its_recording_until_it_is_over() -> None:
    link = verify(LINK_KEYS, signed())
    assert link == VerifiedLink("0d6c", "wav", START + timedelta(seconds=600))
    assert not link.is_over(START + timedelta(seconds=599))
    assert link.is_over(START + timedelta(seconds=600))


def test_a_signed_link_may_be_to_the_copy_in_another_format() -> None:
    link = LINK_KEYS.signed_path(RECORDING, now=START, ttl_s=600, ext="mp3")
    assert urlsplit(link).path == "/files/0d6c/call-77.mp3"
    assert verify(LINK_KEYS, link).ext == "mp3"


def test_a_capability_url_is_the_same_in_every_state_of_the_recording() -> None:
    early = replace(RECORDING, status=Status.ACCEPTED)
    assert LINK_KEYS.capability_path(early) == LINK_KEYS.capability_path(RECORDING)


@pytest.mark.parametrize("name", ["a/b.wav", "100% ü?#.wav", "..wav", "a b.wav"])
def test_a_file_name_of_any_characters_survives_the_way_through_a_url(name: str) -> None:
    odd = replace(RECORDING, file_name=name)
    assert verify(LINK_KEYS, LINK_KEYS.capability_path(odd)).recording_id == "0d6c"
    assert verify(LINK_KEYS, signed(recording=odd)).recording_id == "0d6c"


def changed(link: str) -> list[str]:
    """Return the link with each character of it replaced by another in turn."""
    return [link[:at] + ("A" if link[at] != "A" else "B") + link[at + 1 :] for at in range(len("/files/"), len(link))]


def test_a_capability_url_with_any_character_changed_is_forbidden() -> None:
    link = LINK_KEYS.capability_path(RECORDING)
    for other in changed(link):
        with pytest.raises(Forbidden):
            verify(LINK_KEYS, other)


def test_a_signed_link_with_any_character_changed_is_forbidden() -> None:
    for other in changed(signed()):
        with pytest.raises(Forbidden):
            verify(LINK_KEYS, other)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/files/", {}),
        ("/files/0d6c", {}),
        ("/files/0d6c/", {}),
        ("/files/0d6c/k1/call-77.wav", {}),
        ("/files/0d6c/k1./call-77.wav", {}),
        ("/files/0d6c/☎.\ud800/call-77.wav", {}),
        ("/files/0d6c/k1.\ud800/call-77.wav", {}),
        ("/files/0d6c/call-77.wav", {}),
        ("/files/0d6c/call-77.wav", {"signature": "k1."}),
        ("/files/0d6c/call-77.wav", {"signature": "", "expires": "1"}),
        ("/files/0d6c/call-77.wav", {"signature": "k1.\u2603", "expires": "never"}),
        ("", {}),
    ],
)
def test_a_link_that_we_never_made_is_forbidden(path: str, query: dict[str, str]) -> None:
    with pytest.raises(Forbidden):
        LINK_KEYS.verify(path, query)


def test_a_signature_of_one_kind_does_not_make_a_link_of_the_other() -> None:
    seal = LINK_KEYS.capability_path(RECORDING).split("/")[3]
    query = dict(parse_qsl(urlsplit(signed()).query))
    with pytest.raises(Forbidden):
        LINK_KEYS.verify("/files/0d6c/call-77.wav", {"signature": seal, "expires": query["expires"]})
    with pytest.raises(Forbidden):
        LINK_KEYS.verify("/files/0d6c/call-77.wav", {"signature": seal})
    with pytest.raises(Forbidden):
        LINK_KEYS.verify(f"/files/0d6c/{query['signature']}/call-77.wav", {})


def test_a_link_of_one_recording_does_not_open_another() -> None:
    seal = LINK_KEYS.capability_path(RECORDING).split("/")[3]
    with pytest.raises(Forbidden):
        LINK_KEYS.verify(f"/files/0d6d/{seal}/call-77.wav", {})


def test_with_a_newer_key_older_links_stay_good_and_capability_urls_stay_the_same() -> None:
    both = LinkKeys((NEW, OLD))
    assert verify(both, signed()).recording_id == "0d6c"
    assert both.capability_path(RECORDING) == LINK_KEYS.capability_path(RECORDING)


def test_a_newer_key_signs_for_new_recordings() -> None:
    both = LinkKeys((OLD, NEW))
    later = replace(RECORDING, created_at=NEW.since)
    path = both.capability_path(later)
    assert path.split("/")[3].startswith("k2.")
    assert verify(both, path).recording_id == "0d6c"
    with pytest.raises(Forbidden):
        verify(LINK_KEYS, path)


def test_a_recording_older_than_every_key_is_signed_with_the_oldest() -> None:
    keys = LinkKeys((NEW,))
    assert verify(keys, keys.capability_path(RECORDING)).recording_id == "0d6c"


def test_the_secret_is_not_in_the_representation_of_a_key() -> None:
    assert "1111" not in repr(OLD)
