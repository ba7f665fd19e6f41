"""The Helm chart renders to what Kubernetes takes, and agrees with the code: settings, ports, paths and times."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from tests.support.helm import Chart, merged
from wavstream import __version__
from wavstream.cli.draining import HANDED_OVER_S
from wavstream.settings import OLDER_VARIABLES, every_setting, load, variable

ROOT = Path(__file__).parents[2]
CHART = Chart(ROOT / "config" / "helm" / "wavstream")
SCHEMA = json.loads((CHART.folder / "values.schema.json").read_text("utf-8"))
SECRET = "some-secret-of-32-characters-or-more"
EVERYTHING: dict[str, Any] = {
    "image": {"tag": "1.2.3", "pullSecrets": [{"name": "registry"}]},
    "mediaUrl": "ws://$(POD_NAME).$(NODES):8080",
    "trustedProxies": ["10.0.0.0/8", "fd00::/8"],
    "secret": {"adminApiKey": "admin-api-key"},
    "storage": {"endpoint": "https://minio.example.com:9000", "region": "eu-central-1"},
    "settings": {"WAVSTREAM_LIMITS__SESSIONS": "2000", "WAVSTREAM_AUTO_RECORD": "true"},
    "volume": {"storageClass": "local"},
    "service": {"type": "LoadBalancer", "annotations": {"example.com/internal": "true"}},
    "serviceAccount": {"name": "recorder"},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "nodeSelector": {"disk": "local"},
    "tolerations": [{"key": "calls", "operator": "Exists"}],
}
BOTH = pytest.mark.parametrize("changes", [{}, EVERYTHING], ids=["as it is", "with everything"])


def manifests(changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By kind and name."""
    return {f"{each['kind']} {each['metadata']['name']}": each for each in CHART.render(changes)}


def pod_of(changes: dict[str, Any]) -> dict[str, Any]:
    return dict(manifests(changes)["StatefulSet wavstream"]["spec"]["template"]["spec"])


def container_of(changes: dict[str, Any]) -> dict[str, Any]:
    (container,) = pod_of(changes)["containers"]
    return dict(container)


def environment_of(changes: dict[str, Any]) -> dict[str, str]:
    """Its variables with their values, as a pod has them."""
    pod = {"POD_NAME": "wavstream-0", "NODES": "wavstream-nodes.calls.svc"}
    given = {each["name"]: each.get("value", SECRET) for each in container_of(changes)["env"]}
    given["WAVSTREAM_CATALOG__URL"] = "postgresql://wavstream@postgres/wavstream"
    return {
        name: re.sub(r"\$\((\w+)\)", lambda found: pod[found[1]], value)
        for name, value in given.items()
        if name not in pod
    }


@BOTH
def test_every_variable_is_a_setting_and_has_a_value_that_it_takes(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    known = {variable(name) for name, _ in every_setting()} | set(OLDER_VARIABLES.values())
    given = environment_of(changes)
    assert set(given) <= known
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    settings = load()

    assert settings.cluster.node == "wavstream-0"
    assert settings.cluster.address == "wavstream-0.wavstream-nodes.calls.svc:8090"
    ports = {each["name"]: each["containerPort"] for each in container_of(changes)["ports"]}
    assert ports == {"http": settings.port, "nodes": int(settings.cluster.listen.rpartition(":")[2])}
    (mount,) = (each for each in container_of(changes)["volumeMounts"] if each["name"] == "recordings")
    assert Path(mount["mountPath"]) in settings.data_dir.parents


def test_values_are_what_the_manifests_have() -> None:
    given, pod = environment_of(EVERYTHING), pod_of(EVERYTHING)

    assert given["WAVSTREAM_TRUSTED_PROXIES"] == "10.0.0.0/8,fd00::/8"
    assert given["WAVSTREAM_URL"] == "ws://wavstream-0.wavstream-nodes.calls.svc:8080"
    assert given["WAVSTREAM_LIMITS__SESSIONS"] == "2000"
    assert (given["ADMIN_API_KEY"], given["WAVSTREAM_STORAGE__REGION"]) == (SECRET, "eu-central-1")
    assert pod["serviceAccountName"] == "recorder"
    assert pod["nodeSelector"] == {"disk": "local"}
    assert pod["tolerations"] == [{"key": "calls", "operator": "Exists"}]
    assert pod["containers"][0]["image"] == "wavstream:1.2.3"
    made = manifests(EVERYTHING)
    assert made["ServiceMonitor wavstream"]["metadata"]["labels"]["release"] == "prometheus"
    assert made["Service wavstream"]["spec"]["type"] == "LoadBalancer"
    assert container_of({})["image"] == f"wavstream:{__version__}"
    assert "ServiceMonitor wavstream" not in manifests({})


def test_secrets_come_from_the_secret_by_reference() -> None:
    secret = {variable(name) for name, field in every_setting() if "SecretStr" in str(field.annotation)}
    secret |= {OLDER_VARIABLES[name] for name in OLDER_VARIABLES if variable(name) in secret}

    named = [each for each in container_of(EVERYTHING)["env"] if each["name"] in secret]

    assert len(named) >= 5
    assert all(each["valueFrom"]["secretKeyRef"]["name"] == "wavstream" for each in named)
    without = {"secret": {"natsPassword": "", "storageAccessKeyId": "", "storageSecretAccessKey": ""}}
    assert {"WAVSTREAM_CLUSTER__PASSWORD", "WAVSTREAM_STORAGE__ACCESS_KEY_ID"} & set(environment_of(without)) == set()


@BOTH
def test_the_parts_find_each_other(changes: dict[str, Any]) -> None:
    made = manifests(changes)
    stateful, public, nodes = (
        made[name] for name in ("StatefulSet wavstream", "Service wavstream", "Service wavstream-nodes")
    )
    labels = stateful["spec"]["template"]["metadata"]["labels"]

    budget = made["PodDisruptionBudget wavstream"]
    for selector in (
        stateful["spec"]["selector"]["matchLabels"],
        public["spec"]["selector"],
        nodes["spec"]["selector"],
        budget["spec"]["selector"]["matchLabels"],
        pod_of(changes)["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ):
        assert selector == labels
    # A node that is drained is not ready, and its sessions are still its own.
    assert nodes["spec"]["publishNotReadyAddresses"] is True
    assert nodes["spec"]["clusterIP"] == "None"
    assert stateful["spec"]["serviceName"] == nodes["metadata"]["name"]
    ports = {each["name"] for each in container_of(changes)["ports"]}
    assert {each["targetPort"] for each in (*nodes["spec"]["ports"], *public["spec"]["ports"])} == ports
    mounted = {each["name"] for each in container_of(changes)["volumeMounts"]}
    claims = {each["metadata"]["name"] for each in stateful["spec"]["volumeClaimTemplates"]}
    assert mounted == claims | {each["name"] for each in pod_of(changes)["volumes"]}
    if changes:
        monitor = made["ServiceMonitor wavstream"]["spec"]
        assert set(monitor["selector"]["matchLabels"].items()) <= set(nodes["metadata"]["labels"].items())
        assert not set(monitor["selector"]["matchLabels"].items()) <= set(public["metadata"]["labels"].items())


@pytest.mark.parametrize("wait_s", [0, 60, 600])
def test_a_pod_has_time_to_be_drained_and_to_stop(wait_s: int) -> None:
    changes = {"drain": {"waitSeconds": wait_s}}
    (program, command, option, waits) = container_of(changes)["lifecycle"]["preStop"]["exec"]["command"]
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    (stop_s,) = re.findall(r"TimeoutStopSec=(\d+)", page)

    assert (program, command, option, waits) == ("wavstream", "drain", "--wait", str(wait_s))
    assert pod_of(changes)["terminationGracePeriodSeconds"] >= wait_s + HANDED_OVER_S + int(stop_s)


def test_the_pod_is_that_of_the_image_and_of_the_manifest_and_may_do_no_more() -> None:
    documents = yaml.safe_load_all((ROOT / "config" / "kubernetes" / "wavstream.yaml").read_text("utf-8"))
    (alone,) = (each for each in documents if each["kind"] == "StatefulSet")
    pod = alone["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert pod_of({})["securityContext"] == pod["securityContext"]
    assert pod_of({})["enableServiceLinks"] is pod_of({})["automountServiceAccountToken"] is False
    for name in ("securityContext", "startupProbe", "livenessProbe", "readinessProbe"):
        assert container_of({})[name] == container[name]
    policy = "persistentVolumeClaimRetentionPolicy"
    assert manifests({})["StatefulSet wavstream"]["spec"][policy] == alone["spec"][policy]


# ---- the schema ----------------------------------------------------------------------------------------------------


def refuses(changes: dict[str, Any]) -> bool:
    return not jsonschema_rs.is_valid(SCHEMA, merged(CHART.values, changes))


def test_the_schema_takes_the_values_and_knows_each_of_them() -> None:
    def names(values: dict[str, Any], schema: dict[str, Any], where: str = "") -> Iterator[str]:
        for name, value in values.items():
            known = schema.get("properties", {}).get(name)
            if known is None:
                yield f"{where}{name}"
            elif isinstance(value, dict) and "properties" in known:
                yield from names(value, known, f"{where}{name}.")

    assert not refuses({})
    assert not refuses(EVERYTHING)
    assert [*names(CHART.values, SCHEMA)] == []


WRONG: list[dict[str, Any]] = [
    {"replica": 3},
    {"replicas": 0},
    {"replicas": "3"},
    {"publicUrl": "rec.example.com"},
    {"mediaUrl": "https://rec.example.com"},
    {"nats": {"url": "nats://wavstream:password@nats:4222"}},
    {"nats": {"url": "http://nats:4222"}},
    {"storage": {"url": "file:///recordings"}},
    {"secret": {"masterKey": ""}},
    {"secret": {"password": "in plain sight"}},
    {"settings": {"PORT": "8080"}},
    {"settings": {"WAVSTREAM_LIMITS__SESSIONS": 2000}},
    {"drain": {"waitSeconds": "60s"}},
    {"volume": {"size": "100"}},
    {"podDisruptionBudget": {"maxUnavailable": 0}},
]


@pytest.mark.parametrize("changes", WRONG, ids=str)
def test_the_schema_refuses_what_cannot_be(changes: dict[str, Any]) -> None:
    assert refuses(changes)


def test_the_chart_is_of_this_version() -> None:
    assert CHART.about["appVersion"] == __version__


# ---- with Helm -----------------------------------------------------------------------------------------------------


@BOTH
def test_helm_finds_nothing_wrong_and_makes_the_same_of_it(tmp_path: Path, changes: dict[str, Any]) -> None:
    if (helm := shutil.which("helm")) is None:
        pytest.skip("no helm: https://helm.sh/docs/intro/install/")
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(changes), "utf-8")
    asked = [str(CHART.folder), "--values", str(values), "--namespace", "calls"]
    subprocess.run([helm, "lint", "--strict", *asked], check=True)

    made = subprocess.run([helm, "template", "wavstream", *asked], check=True, capture_output=True, text=True).stdout

    found = [each for each in yaml.safe_load_all(made) if each]
    ours = CHART.render(changes)
    assert sorted(map(json.dumps, found)) == sorted(map(json.dumps, ours))
