"""What the documents say exists: files, commands, options, routes, settings, metrics and tests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer.main
from fastapi import FastAPI
from starlette.routing import BaseRoute, Match
from typer.core import TyperCommand, TyperGroup
from websockets.datastructures import Headers
from websockets.http11 import Request

import wavstream
from docs import cli_page, rooms_drawing, vendors_page
from docs.settings_page import PAGE, page
from tests.support.routes import ROUTES
from wavstream.api.mount import FacadeMount
from wavstream.cli.main import app as command_line
from wavstream.errors import NotFound
from wavstream.media.request import read_request
from wavstream.model.options import RecordingOptions
from wavstream.service.server import running
from wavstream.settings import OLDER_VARIABLES, Settings, every_setting, variable
from wavstream.settings.loading import SERVER_VARIABLE

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bench").glob("*.md"), *ROOT.glob("tests/**/*.md")]
)
OPTIONS = ROOT / "docs" / "recording-options.md"
OPENERS = ROOT / "docs" / "openers.md"
SHELL = {"", "sh", "ini"}
OURS = r"/(?:(?:v\d|files|media|record|swml|api/calling|api/relay)/[^\s\"'?;,]+|healthz|readyz|metrics|openapi\.json)"


def name(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=name)


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """(language, content) of every fenced block."""
    for block in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield block[1], block[2]


def code(text: str) -> Iterator[str]:
    """Inline code, and the lines of shell in fenced blocks."""
    for language, content in blocks(text):
        if language in SHELL:
            yield from content.splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE))


def anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def links(document: Path) -> Iterator[tuple[str, Path, str]]:
    """(text, file, fragment) of every relative link."""
    for text, target in re.findall(r"\[([^\]]+)\]\(([^)\s]+)\)", document.read_text("utf-8")):
        if not re.match(r"[a-z]+:", target):
            file, _, fragment = target.partition("#")
            yield text, (document.parent / file).resolve() if file else document, fragment


@every_document
def test_every_link_leads_somewhere(document: Path) -> None:
    broken = []
    for _, file, fragment in links(document):
        headings = re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.MULTILINE) if file.suffix == ".md" else []
        if not file.exists() or (fragment and fragment not in map(anchor, headings)):
            broken.append(f"{file}#{fragment}")

    assert broken == []


def test_every_document_of_the_folder_is_in_its_index() -> None:
    for folder in (ROOT / "docs", ROOT / "docs" / "decisions"):
        index = folder / "README.md"
        listed = {file for _, file, _ in links(index)}

        assert {file for file in folder.glob("*.md") if file != index} <= listed


@every_document
def test_every_command_and_option_exists(document: Path) -> None:
    wrong = []
    for line in code(document.read_text("utf-8")):
        for call in re.findall(r"(?<![\w./=-])(?:[\w./]+/bin/)?wavstream ([a-z][^|;`&]*)", line.split(" # ")[0]):
            wrong += unknown_in(call.split())

    assert wrong == []


def unknown_in(words: list[str]) -> list[str]:
    command: object = typer.main.get_group(command_line)
    while isinstance(command, TyperGroup) and words and re.fullmatch(r"[a-z-]+", words[0]):
        if words[0] not in command.commands:
            return [f"command {words[0]}"]
        command = command.commands[words.pop(0)]
    assert isinstance(command, TyperGroup | TyperCommand)
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    given = {word.partition("=")[0].strip("[]") for word in words if re.match(r"\[?--?[a-z]", word)}
    return [f"option {option} of {command.name}" for option in given - options - {"--help"}]


@pytest.fixture
async def served(tmp_path: Path) -> FastAPI:
    async with running(Settings(port=0, data_dir=tmp_path)) as (service, _):
        return service.app


async def test_every_route_exists(served: FastAPI) -> None:
    named = {
        (name(document), path)
        for document in DOCUMENTS
        for line in code(document.read_text("utf-8"))
        for path in re.findall(rf"(?:(?<=8080)|(?<=BASE)|(?<=[ (])|^)({OURS})", line)
    }

    assert len(named) > 30
    assert {place for place in named if not is_route(place[1], served)} == set()


def _mounted_routes(middleware: Any) -> list[BaseRoute]:
    """Return the routes of the vendors' APIs, if it is these that this middleware takes out of all."""
    mounted = middleware.kwargs["mounted"] if middleware.cls is FacadeMount else ()
    return [route for each in mounted for route in each.app.routes]


def is_route(path: str, served: FastAPI) -> bool:
    if path.startswith("/media"):
        try:
            read_request(Request(path.replace("{dialect}", "pcm"), Headers()), routes=ROUTES, peer_host=None)
        except NotFound:
            return False
        return True
    scope = {"type": "http", "path": path, "method": "GET", "headers": []}
    routes = [*served.routes, *(route for each in served.user_middleware for route in _mounted_routes(each))]
    return any(route.matches(scope)[0] is not Match.NONE for route in routes)


@every_document
def test_every_setting_that_is_named_exists(document: Path) -> None:
    known = {variable(setting) for setting, _ in every_setting()} | {*OLDER_VARIABLES.values(), SERVER_VARIABLE}
    named = re.findall(r"(?<!\$)\b(?:WAVSTREAM|RECORDING)_\w*[A-Z]\b", document.read_text("utf-8"))

    assert set(named) - known == set()


def test_the_page_of_settings_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == page(), "write it again: python -m docs.settings_page"


def test_the_page_of_the_command_line_is_up_to_date() -> None:
    assert cli_page.PAGE.read_text("utf-8") == cli_page.page(), "write it again: python -m docs.cli_page"


def test_the_readme_names_every_command() -> None:
    table = (ROOT / "README.md").read_text("utf-8").partition("\n## Commands\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`wavstream ([a-z][a-z-]*)", table)) | {"version"}

    assert named == set(typer.main.get_group(command_line).commands)


def test_the_page_of_vendors_has_the_table_by_which_requests_are_translated() -> None:
    assert vendors_page.PAGE.read_text("utf-8") == vendors_page.page(), "write it again: python -m docs.vendors_page"


def test_the_drawing_of_the_rooms_is_that_of_the_import_contracts() -> None:
    contributing = rooms_drawing.PAGE.read_text("utf-8")

    assert rooms_drawing.drawing() in [content for _, content in blocks(contributing)], "python -m docs.rooms_drawing"
    assert rooms_drawing.page(contributing) == contributing


def test_the_picture_of_the_readme_is_the_path_of_a_sample_and_names_rooms_that_exist() -> None:
    picture = next(content for _, content in blocks((ROOT / "README.md").read_text("utf-8")) if "socket ->" in content)
    path, _, below = picture.partition("\n")
    folders = {folder.name for folder in (ROOT / "wavstream").rglob("*") if (folder / "__init__.py").exists()}
    words = set(re.findall(r"\w+", below)) - {"the", "same", "fold", "spool", "HTTP"}

    assert f"The path of a sample: {path.strip()}." in (wavstream.__doc__ or "")
    assert len(words) > 10
    assert words - folders == set()


def test_the_page_of_options_and_the_readme_have_every_option_and_the_page_its_default() -> None:
    defaults: dict[str, object] = msgspec.to_builtins(RecordingOptions())
    told = re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|[^|]*\|$", OPTIONS.read_text("utf-8"), re.MULTILINE)
    section = (ROOT / "README.md").read_text("utf-8").partition("## Options of a recording")[2].partition("\n## ")[0]

    assert [option for option, _ in told] == list(defaults)
    assert {option: text for option, text in told if text.strip("`") not in spellings(defaults[option])} == {}
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(defaults)


def test_the_page_of_openers_has_every_setting_of_theirs_with_its_default() -> None:
    table = OPENERS.read_text("utf-8").partition("\n## Settings\n")[2].partition("\nWhatever")[0]
    told = {row[0]: row[1] for row in re.findall(r"^\| `(\w+)` \|.*\| (?:`([^|]+)`|not set) \|[^|]*\|$", table, re.M)}

    assert told == {
        setting.removeprefix("opener."): "" if field.default in (None, ()) else str(field.default)
        for setting, field in every_setting()
        if setting.startswith("opener.")
    }


def spellings(value: object) -> tuple[str, ...]:
    return (value, json.dumps(value)) if isinstance(value, str) else (json.dumps(value),)


def test_operations_has_every_metric_and_no_other() -> None:
    service = ROOT / "wavstream" / "service"
    kinds = ("collect_metrics.py", "worker_metrics.py", "cluster_metrics.py")
    sources = [ROOT / "wavstream" / "metrics.py", *(service / each for each in kinds)]
    named = re.compile(r'"(wavstream_\w+[a-z])"')
    counted = {metric for source in sources for metric in named.findall(source.read_text("utf-8"))}
    told = set(re.findall(r"`(wavstream_\w+)`", (ROOT / "docs" / "operations.md").read_text("utf-8")))

    assert told == counted


def test_every_promise_of_the_readme_names_a_test_that_exists() -> None:
    promises = [link for link in links(ROOT / "README.md") if link[1].name.startswith("test_")]

    assert len(promises) >= 10
    assert [text for text, file, _ in promises if f"def test_{text}(" not in file.read_text("utf-8")] == []


@every_document
def test_every_python_example_compiles(document: Path) -> None:
    for language, content in blocks(document.read_text("utf-8")):
        if language == "python":
            compile(content, name(document), "exec")
