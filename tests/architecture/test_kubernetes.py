"""The manifests agree with the code and with the image: names of settings, ports, paths, users, and times."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi import FastAPI
from starlette.routing import Match

from wavstream.catalog.schema import BUSY_TIMEOUT_MS
from wavstream.service.server import running
from wavstream.settings import OLDER_VARIABLES, Settings, every_setting, load, variable

ROOT = Path(__file__).parents[2]
MANIFESTS = [
    document
    for file in sorted((ROOT / "config" / "kubernetes").glob("*.yaml"))
    for document in yaml.safe_load_all(file.read_text("utf-8"))
]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")


def only(kind: str) -> dict[str, Any]:
    (found,) = [manifest for manifest in MANIFESTS if manifest["kind"] == kind]
    return dict(found)


SERVICE, SET = only("Service"), only("StatefulSet")
POD = SET["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
PROBES = {name: CONTAINER[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}


def values() -> dict[str, str]:
    return {each["name"]: each.get("value", "some-secret-of-32-characters-or-more") for each in CONTAINER["env"]}


def test_every_variable_is_a_setting_and_has_a_value_that_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {variable(name) for name, _ in every_setting()} | set(OLDER_VARIABLES.values())
    assert set(values()) <= known
    for name, value in values().items():
        monkeypatch.setenv(name, value)

    settings = load()

    (port,) = CONTAINER["ports"]
    assert settings.port == port["containerPort"]
    (outside,) = SERVICE["spec"]["ports"]
    assert (outside["targetPort"], outside["port"]) == (port["name"], settings.port)
    assert {probe["port"] for probe in PROBES.values()} == {port["name"]}
    volume = next(each for each in CONTAINER["volumeMounts"] if each["name"] == claim()["metadata"]["name"])
    assert Path(volume["mountPath"]) in settings.data_dir.parents


def test_what_is_there_to_take_the_comment_sign_from_is_whole() -> None:
    text = (ROOT / "config" / "kubernetes" / "wavstream.yaml").read_text("utf-8")
    whole = [*yaml.safe_load_all(re.sub(r"^( +)#(?=[- ])(?! )", r"\1", text, flags=re.MULTILINE))]

    stateful = next(each for each in whole if each["kind"] == "StatefulSet")
    (container,) = stateful["spec"]["template"]["spec"]["containers"]
    more = [each for each in container["env"] if each not in CONTAINER["env"]]
    assert len(more) == 5
    assert {each["name"] for each in more} <= {variable(name) for name, _ in every_setting()}


def claim() -> dict[str, Any]:
    (template,) = SET["spec"]["volumeClaimTemplates"]
    return dict(template)


def test_secrets_come_from_a_secret() -> None:
    by_name = dict(every_setting())
    secret = {variable(name) for name, field in by_name.items() if "SecretStr" in str(field.annotation)}
    secret |= {OLDER_VARIABLES[name] for name in OLDER_VARIABLES if variable(name) in secret}

    named = [each for each in CONTAINER["env"] if each["name"] in secret]

    assert len(named) == 3
    assert all("secretKeyRef" in each["valueFrom"] for each in named)


@pytest.fixture
async def served(tmp_path: Path) -> FastAPI:
    async with running(Settings(port=0, data_dir=tmp_path)) as (service, _):
        return service.app


async def test_every_probe_asks_for_a_path_that_there_is(served: FastAPI) -> None:
    for probe in PROBES.values():
        scope = {"type": "http", "path": probe["path"], "method": "GET", "headers": []}
        assert any(route.matches(scope)[0] is Match.FULL for route in served.routes), probe["path"]
    assert CONTAINER["readinessProbe"]["timeoutSeconds"] * 1000 > BUSY_TIMEOUT_MS


def test_the_pod_is_that_of_the_image_and_may_do_no_more_than_it_needs() -> None:
    (uid,) = re.findall(r"useradd --uid (\d+)", DOCKERFILE)
    context = POD["securityContext"]
    assert {context[name] for name in ("runAsUser", "runAsGroup", "fsGroup")} == {int(uid)}
    assert context["runAsNonRoot"] is True
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert POD["enableServiceLinks"] is POD["automountServiceAccountToken"] is False


def test_the_pod_has_time_to_stop() -> None:
    (_, wait_s) = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    (needed_s,) = re.findall(r"TimeoutStopSec=(\d+)", page)

    assert POD["terminationGracePeriodSeconds"] >= int(wait_s) + int(needed_s)


def test_the_parts_find_each_other() -> None:
    labels = SET["spec"]["template"]["metadata"]["labels"]

    assert SERVICE["spec"]["selector"] == SET["spec"]["selector"]["matchLabels"] == labels
    assert SET["spec"]["serviceName"] == SERVICE["metadata"]["name"]
    assert SET["spec"]["replicas"] == 1  # the lock of the data folder keeps a second one out
    mounted = {each["name"] for each in CONTAINER["volumeMounts"]}
    assert mounted == {claim()["metadata"]["name"], *(each["name"] for each in POD["volumes"])}
