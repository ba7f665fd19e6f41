"""Every dialect has all that belongs to one: vectors, a page, a simulator; and the pages say what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import wavstream
from wavstream.dialects import detection
from wavstream.dialects.registry import DIALECTS
from wavstream.simulator.vendors.registry import PEERS

ROOT = Path(wavstream.__file__).parent.parent
DOCS = ROOT / "docs"
VECTORS = ROOT / "tests" / "vectors"
OVERVIEW = (DOCS / "media-servers.md").read_text("utf-8")
PAGES = {file.name: file.read_text("utf-8") for file in DOCS.glob("*.md")}

each_dialect = pytest.mark.parametrize("name", sorted(DIALECTS))


def section(title: str) -> str:
    return OVERVIEW.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    return [[cell.strip() for cell in line[1:-1].split(" | ")] for line in lines]


@each_dialect
def test_it_is_registered_under_its_own_name(name: str) -> None:
    assert DIALECTS[name].name == name
    assert re.fullmatch(r"[a-z][a-z0-9-]*", name)
    assert name not in {"auto", "t"}, "a path of ours"


@each_dialect
def test_it_has_vectors_of_a_call_that_ends_well_and_of_bad_input(name: str) -> None:
    folder = VECTORS / name
    assert "session_id" in json.loads((folder / "usual.json").read_text("utf-8"))
    transcripts = {file.stem: file.read_text("utf-8").splitlines() for file in folder.glob("*.jsonl")}
    calls = [lines for lines in transcripts.values() if not any('"error"' in line for line in lines)]
    assert any('"StreamStarted"' in line for lines in calls for line in lines), "a normal call"
    assert any('"Frame"' in line for lines in calls for line in lines), "its audio"
    refused = [stem for stem, lines in transcripts.items() if '"error"' in lines[-1]]
    ignored = [stem for stem, lines in transcripts.items() if any('"Ignored"' in line for line in lines)]
    assert refused or ignored, "what it makes of bad input"
    assert len(transcripts) >= 5, "each quirk and each bad input has its own"


def test_no_folder_of_vectors_is_of_a_dialect_that_does_not_exist() -> None:
    folders = {folder.name for folder in VECTORS.iterdir() if any(folder.glob("*.jsonl"))}
    assert folders == DIALECTS.keys()


@each_dialect
def test_it_has_a_simulator_of_its_vendor(name: str) -> None:
    assert PEERS[name].dialect == name
    assert PEERS[name].codecs


def test_no_simulator_is_of_a_dialect_that_does_not_exist() -> None:
    assert PEERS.keys() == DIALECTS.keys()


@each_dialect
def test_it_has_a_page_which_the_overview_links(name: str) -> None:
    linked = re.findall(rf"\[`{name}`\]\(([\w-]+\.md)\)", OVERVIEW.partition("\n## ")[0])
    assert linked
    for page in linked:
        assert f"`{name}`" in PAGES[page]
        assert f"/media/{name}" in PAGES[page], "the address to give its media server"


@each_dialect
def test_the_overview_says_how_it_keeps_time_and_whether_it_is_sent_pings(name: str) -> None:
    (row,) = [row for row in rows(OVERVIEW.partition("\n## ")[0]) if row[0] == f"`{name}`"]
    assert len(row) == 6
    assert row[4].startswith("yes") is DIALECTS[name].server_pings


def test_the_overview_has_no_dialect_that_does_not_exist() -> None:
    table = [row for row in rows(OVERVIEW.partition("\n## ")[0]) if len(row) == 6 and row[0].startswith("`")]
    assert {row[0].strip("`") for row in table} == DIALECTS.keys()


def test_the_page_has_the_evidence_in_the_order_in_which_the_code_looks_at_it() -> None:
    told = " ".join(row[1] for row in rows(section("How `/media` finds the dialect")) if len(row) == 3)
    looked_at = [
        *(row.what for row in detection._BY_UPGRADE),
        detection._PLAIN.what,
        *(row.what for row in detection._BY_TEXT),
        detection._QUERY_HINT.what,
        *(row.what for row in detection._HINTS),
    ]
    for what in looked_at:
        assert what in told, "missing, or not in its place"
        told = told.partition(what)[2]


@each_dialect
def test_the_page_of_identity_says_which_ids_of_the_vendor_count(name: str) -> None:
    table = [row for row in rows(PAGES["identity.md"]) if len(row) == 3]
    assert [row for row in table if f"`{name}`" in row[0]]
