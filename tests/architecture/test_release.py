"""What is handed out: the locks, the package, the image and the files that start it."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder
from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from wavstream.settings import OLDER_VARIABLES, every_setting, load, variable

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
COMPOSE = ROOT / "config" / "compose" / "docker-compose.yml"
CLUSTER = COMPOSE.parent / "cluster.yml"
BESIDE = [each for each in sorted(COMPOSE.parent.glob("*.yml")) if each not in (COMPOSE, CLUSTER)]
"""What is given to compose beside it."""
QUADLET = ROOT / "config" / "quadlet" / "wavstream.container"
VARIABLES = {variable(name) for name, _ in every_setting()} | set(OLDER_VARIABLES.values())

every_lock = pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)


def lines(lock: Path) -> list[str]:
    """Its lines without comments, continued ones as one."""
    text = lock.read_text("utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def locked(lock: Path) -> list[Requirement]:
    return [Requirement(line.split(" --hash")[0]) for line in lines(lock)]


def declared() -> dict[str, list[Requirement]]:
    """By lock, what pyproject.toml names that has to be in it."""
    project = PROJECT["project"]
    more = project["optional-dependencies"]
    server = project["dependencies"] + more["store"] + more["postgres"] + more["cluster"]
    build = PROJECT["dependency-groups"]["build"] + PROJECT["build-system"]["requires"]
    extras = [one for extra in project["optional-dependencies"].values() for one in extra]
    names = {"server": server, "build": build, "dev": server + build + extras}
    return {
        lock: [Requirement(one) for one in every if not one.startswith("wavstream[")] for lock, every in names.items()
    }


def holds(marker: Marker | None, python: str) -> bool:
    """Whether a marker is true on Linux with a version of Python."""
    here: Any = default_environment()
    there = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": "linux"}
    return marker is None or marker.evaluate(here | there)


@every_lock
@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_has_what_pyproject_names_at_versions_that_it_allows(lock: Path, python: str) -> None:
    """If this fails: `make lock`."""
    versions = {
        canonicalize_name(one.name): next(iter(one.specifier)).version
        for one in locked(lock)
        if holds(one.marker, python)
    }
    wanted = [one for one in declared()[lock.stem] if holds(one.marker, python)]

    wrong = [
        str(one)
        for one in wanted
        if (version := versions.get(canonicalize_name(one.name))) is None or version not in one.specifier
    ]

    assert wanted != []
    assert wrong == []


@every_lock
def test_each_line_of_a_lock_is_one_version_with_hashes_and_names_no_index(lock: Path) -> None:
    for line in lines(lock):
        requirement, *hashes = line.split(" --hash=")

        assert re.fullmatch(r"[\w.\[\]-]+==[\w.+!]+( ; .+)?", requirement.strip()), line
        assert hashes, line
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one.strip()) for one in hashes), line
    assert "://" not in lock.read_text("utf-8")


def test_the_locks_agree_on_every_version() -> None:
    dev, *smaller = (set(map(str, locked(ROOT / "requirements" / f"{one}.lock"))) for one in ("dev", "server", "build"))

    assert [one - dev for one in smaller] == [set(), set()]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], set[str]]:
    """Return the files of the wheel, and those of the sdist."""
    folder = str(tmp_path_factory.mktemp("dist"))
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=folder, versions=["standard"])
    (sdist,) = SdistBuilder(str(ROOT)).build(directory=folder, versions=["standard"])
    with tarfile.open(sdist) as archive:
        source = {name.partition("/")[2] for name in archive.getnames()}
    return set(zipfile.ZipFile(wheel).namelist()), source


def test_wheel_and_sdist_have_every_file_of_the_package(built: tuple[set[str], set[str]]) -> None:
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "wavstream").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert {"wavstream/simulator/voices/caller.wav", "wavstream/catalog/migrations/env.py"} <= package
    wheel, sdist = built
    sources = {each for each in package if each.startswith("wavstream/console/source/")}  # what the page is built from
    assert {"wavstream/console/static/index.html"} <= wheel
    assert sources
    assert (package - sources - wheel, package - sdist, sources & wheel) == (set(), set(), set())


def test_the_sdist_has_what_its_makefile_and_its_tests_read(built: tuple[set[str], set[str]]) -> None:
    _, source = built
    files = {"Makefile", "Dockerfile", "SECURITY.md", "LICENSE", ".ci/run", "tests/architecture/test_release.py"}

    assert files | {f"requirements/{lock.name}" for lock in LOCKS} <= source


def instructions() -> list[tuple[str, str]]:
    """(word, rest) of each instruction of the Dockerfile."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]


def last(word: str) -> str:
    return [rest for each, rest in instructions() if each == word][-1]


def test_the_image_is_built_on_one_exact_image_of_a_python_that_wavstream_is_for() -> None:
    stages = [rest.split() for word, rest in instructions() if word == "FROM"]
    named = {words[2] for words in stages if words[1:2] == ["AS"]}
    outside = [words[0] for words in stages if words[0] not in named]

    assert len(outside) == 1
    exact = re.fullmatch(r"python:(3\.\d+)\.\d+-slim-\w+@sha256:[0-9a-f]{64}", outside[0])
    assert exact is not None
    assert f"Programming Language :: Python :: {exact[1]}" in PROJECT["project"]["classifiers"]


def test_the_image_has_only_what_the_locks_have() -> None:
    calls = [call for word, rest in instructions() if word == "RUN" for call in rest.split("&&") if "pip" in call]
    installs = [call for call in calls if " install " in call or " wheel " in call]

    assert len(installs) == 4
    assert all("--require-hashes -r requirements/" in call or "--no-deps" in call for call in installs)


def test_the_image_runs_as_a_user_without_rights_and_takes_signals_itself() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last("USER"))
    assert [*json.loads(last("ENTRYPOINT")), *json.loads(last("CMD"))] == ["wavstream", "serve"]


def test_the_check_of_the_image_is_a_program_of_the_package() -> None:
    options, _, check = last("HEALTHCHECK").partition(" CMD ")

    assert set(json.loads(check)) <= set(PROJECT["project"]["scripts"])
    assert "--timeout=3s" in options.split()


def environments() -> Iterator[tuple[str, str]]:
    """(file, variable) of what is set or spoken of."""
    for file in (ROOT / "Dockerfile", COMPOSE, CLUSTER, *BESIDE, QUADLET):
        for name in re.findall(r"\b(WAVSTREAM_\w+|[A-Z_]*(?:API_KEY|WEBHOOKS)\b)", file.read_text("utf-8")):
            yield file.name, name


def test_every_setting_that_is_handed_to_a_container_exists() -> None:
    named = set(environments())

    assert len(named) > 6
    assert {(file, name) for file, name in named if name not in VARIABLES} == set()


def test_the_compose_file_is_one_that_every_compose_takes() -> None:
    composed = yaml.safe_load(COMPOSE.read_text("utf-8"))
    recorder = composed["services"]["recorder"]

    # docker-compose 1.29 refuses `name`; docker compose 2 complains about `version`.
    assert set(composed) == {"services", "networks", "volumes"}
    assert (COMPOSE.parent / recorder["build"]).resolve() == ROOT
    assert recorder["healthcheck"]["test"][:2] == ["CMD", "wavstream-health"]
    assert all(":" in service.get("image", "") for name, service in composed["services"].items() if name != "recorder")


@pytest.mark.parametrize("file", BESIDE, ids=lambda file: file.stem)
def test_a_server_beside_it_is_waited_for_and_its_secret_is_the_operators(file: Path) -> None:
    composed, base = (yaml.safe_load(each.read_text("utf-8")) for each in (file, COMPOSE))
    recorder = composed["services"].pop("recorder")
    ((name, service),) = composed["services"].items()

    assert set(composed) == {"services", "volumes"}
    assert recorder["depends_on"] == {name: {"condition": "service_healthy"}}
    assert service["healthcheck"]["test"][0] == "CMD"
    assert ":" in service["image"]
    assert set(service["networks"]) <= set(base["networks"])
    assert {each.partition(":")[0] for each in service["volumes"]} == set(composed["volumes"])
    secrets = [text for text in [*recorder["environment"].values(), *service["environment"].values()] if "${" in text]
    assert len(secrets) == 2
    assert all(":?set it to a " in text for text in secrets)


def test_the_nodes_of_the_cluster_differ_in_name_and_folder_alone_and_wait_for_what_they_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    composed = yaml.safe_load(CLUSTER.read_text("utf-8"))
    services = {name: dict(service) for name, service in composed["services"].items()}
    nodes = {name: services[name] for name in services if name.startswith("wavstream-")}
    engines = set(services) - {"haproxy"} - set(nodes)

    assert {key for key in composed if not key.startswith("x-")} == {"services", "networks", "volumes"}
    assert len(nodes) == 3
    for name, node in nodes.items():
        assert node["environment"].pop("WAVSTREAM_CLUSTER__NODE") == name
        assert node["environment"].pop("WAVSTREAM_CLUSTER__ADDRESS") == f"{name}:8090"
        assert node["volumes"] == [f"{name}:/data"]
        assert set(node["depends_on"]) == engines
    assert len({json.dumps(node | {"volumes": []}, sort_keys=True) for node in nodes.values()}) == 1
    assert all("healthcheck" in services[name] for name in engines)
    assert all(":" in service["image"] for name, service in services.items() if name not in nodes)
    used = {volume.partition(":")[0] for service in composed["services"].values() for volume in service["volumes"]}
    assert {each for each in used if not each.startswith(".")} == set(composed["volumes"])
    for name, text in nodes["wavstream-1"]["environment"].items():
        text = re.sub(r"\$\{[A-Z_]+:\?[^}]*\}", "some-secret-of-32-characters-or-more", text)
        monkeypatch.setenv(name, re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", text))
    settings = load()
    assert settings.cluster.servers == tuple(f"nats://{name}:4222" for name in sorted(engines) if "nats" in name)


def test_balancers_and_nats_of_the_cluster_name_its_servers() -> None:
    services = yaml.safe_load(CLUSTER.read_text("utf-8"))["services"]
    nodes = sorted(name for name in services if name.startswith("wavstream-"))
    haproxy = (ROOT / "config" / "haproxy" / "cluster.cfg").read_text("utf-8")
    nats = (ROOT / "config" / "nats" / "cluster.conf").read_text("utf-8")

    assert re.findall(r"^    server (\S+) (\S+):8080", haproxy, re.MULTILINE) == 2 * [(node, node) for node in nodes]
    assert re.findall(r"nats://([\w-]+):6222", nats) == sorted(name for name in services if name.startswith("nats-"))
    mounts = [each for service in services.values() for each in service["volumes"] if each.startswith(".")]
    assert len(mounts) == 4
    assert all((CLUSTER.parent / mount.split(":")[0]).resolve().is_file() for mount in mounts)


def test_the_unit_for_podman_brings_the_check_that_its_images_may_lack() -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(QUADLET.read_text("utf-8"))
    container, service = unit["Container"], unit["Service"]

    assert shlex.split(container["HealthCmd"])[0] in PROJECT["project"]["scripts"]
    assert container["HealthOnFailure"] == "kill"
    assert service["Restart"] == "on-failure"
    stop_s = int(container["PodmanArgs"].removeprefix("--stop-timeout="))
    assert stop_s < int(service["TimeoutStopSec"])
