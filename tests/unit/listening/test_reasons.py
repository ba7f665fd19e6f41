"""Why a leg is silent: each reason leads to what mends it, on the console's page and in the documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wavstream.listening.reasons import CODES, reason

ROOT = Path(__file__).parents[3]
HELP = ROOT / "wavstream" / "console" / "source" / "src" / "help.tsx"
ADVICE = dict(re.findall(r"^  (\w+): \{\n    title: .*\n    docs: \"(.*)\",$", HELP.read_text("utf-8"), re.MULTILINE))


def headings(page: str) -> set[str]:
    """Return how the headings of a document are linked to."""
    lines = (ROOT / "docs" / page).read_text("utf-8").splitlines()
    return {re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-") for line in lines if line[:1] == "#"}


@pytest.mark.parametrize("code", CODES)
def test_a_reason_leads_to_a_heading_that_is_there_and_the_page_says_the_same(code: str) -> None:
    page, _, heading = reason(code).docs.partition("#")
    assert heading in headings(page)
    assert ADVICE[code] == reason(code).docs


@pytest.mark.parametrize("code", CODES)
def test_the_document_of_silence_names_every_reason_with_its_section(code: str) -> None:
    _, _, heading = reason(code).docs.partition("#")
    lines = (ROOT / "docs" / "silent-recording.md").read_text("utf-8").splitlines()
    rows = [line for line in lines if f"`{code}`" in line]
    assert any(f"(#{heading})" in row for row in rows)


def test_the_page_has_no_advice_for_what_the_server_never_says() -> None:
    assert {*ADVICE} == {*CODES}
