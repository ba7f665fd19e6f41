"""What Prometheus is told, and that rules, panels and the page name nothing else."""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.support.listening import beeps
from tests.support.recorder import Recorder, recorder
from wavstream import __version__
from wavstream.service import cluster_metrics

ROOT = Path(__file__).parents[2]
RULES = ROOT / "config" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "config" / "grafana" / "wavstream.json"
PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")
NOT_OURS = {"up"}
"""What Prometheus makes itself."""
OF_WORKERS = {"wavstream_worker_up": {"worker"}, "wavstream_worker_restarts_total": {"worker"}}
"""What there is beside the metrics of each where the server is several workers: test_all_workers looks at that."""
OF_NODES = set(re.findall(r'"(wavstream_\w+)"', Path(cluster_metrics.__file__).read_text("utf-8")))
"""What there is beside them where the server is a node of a cluster."""


async def scraped(client: Recorder) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = (await client.http.get("/metrics")).text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in rules())
    for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def series_in(expression: str) -> set[tuple[str, frozenset[str]]]:
    """Names of metrics, each with the labels that it is asked for by."""
    found = re.findall(r"\b((?:wavstream|process)_\w+|up)\b(?:\{([^}]*)\})?", expression)
    return {(name, frozenset(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", labels))) for name, labels in found}


def grouped_by(expression: str) -> set[str]:
    return {label.strip() for labels in re.findall(r"\bby \(([^)]*)\)", expression) for label in labels.split(",")}


async def test_rules_panels_and_the_page_name_metrics_and_labels_that_there_are(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        await client.http.get("/healthz")
        there: dict[str, set[str]] = {}
        before = await scraped(client)
        for found, pairs in before:
            there.setdefault(found, set()).update(label for label, _ in pairs)
        # An increase is seen only of what was there before: what peers bring about is there from the start.
        async with client.connect("/media/pcm/call-77/a") as media:
            await media.send("not json")
            await media.wait_closed()
        with pytest.raises(Exception, match="404"):
            await client.connect("/media/morse/call-77/a")
        async with client.connect("/media/twilio") as media:
            await media.send('{"event":"what is this"}')
        after = await scraped(client)
        assert [each for each in after if each not in before and "http_request" not in each[0]] == []
        assert key("wavstream_recordings_total", status="failed", reason="none") in before

    of_each = {f"wavstream_worker_{name.removeprefix('wavstream_')}": {*of, "worker"} for name, of in there.items()}
    families = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in there if name.startswith("wavstream_")}
    there |= of_each | OF_WORKERS
    usual = {"instance", "job", "le", *NOT_OURS}
    for expression in expressions():
        for name, labels in series_in(expression):
            assert name in there or name in NOT_OURS, f"{name} of {expression}"
            assert labels - usual <= there.get(name, set()), f"{labels} of {expression}"
        known = set().union(*(there.get(name, set()) for name, _ in series_in(expression)))
        assert grouped_by(expression) - usual <= known, expression

    told = set(re.findall(r"`(wavstream_\w+)`", PAGE))
    assert families - told == set()
    assert told == families | OF_WORKERS.keys() | OF_NODES


def test_each_rule_says_how_bad_it_is_and_what_it_means() -> None:
    names = [rule["alert"] for rule in rules()]

    assert len(names) == len(set(names)) > 10
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]


def test_panels_have_ids_and_places_of_their_own() -> None:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)


def test_promtool_takes_the_rules() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    subprocess.run([promtool, "check", "rules", str(RULES)], check=True, timeout=60)


async def test_what_happened_to_recordings_requests_and_keys_is_counted(tmp_path: Path) -> None:
    right = "right-key-of-the-default-app"
    async with recorder(tmp_path, api_key=right) as (client, _):
        client.http.headers["Authorization"] = f"Bearer {right}"
        recording = await client.start("call-77")
        async with client.connect(f"/media/pcm/call-77/a?token={right}") as media:
            await media.send(beeps(1.0, rate_hz=8000, frequency_hz=700.0).tobytes())
        await client.until(recording)
        await client.http.get(f"/v1/recordings/{'0' * 32}")
        for path in ("/elsewhere/a", "/elsewhere/b"):
            await client.http.get(path)
        await client.http.get("/health")  # of another API of ours, and a vendor's
        await client.http.post("/v2/calls/nobodys/actions/record_stop", json={})
        await client.http.request("PROPFIND", "/healthz")
        await client.http.get("/v1/recordings", headers={"Authorization": "Bearer wrong"})
        counted = await scraped(client)

    requests = "wavstream_http_requests_total"
    assert counted[key("wavstream_recordings_total", status="available", reason="hangup")] == 1
    assert counted[key("wavstream_recordings_total", status="failed", reason="stopped")] == 0
    assert counted[key("wavstream_recording_finish_seconds_count")] == 1
    assert counted[key("wavstream_wrong_keys_total", what="key")] == 1
    assert counted[key("wavstream_disk_free_bytes")] > 0
    assert counted[key("wavstream_build_info", version=__version__, python=platform.python_version())] == 1
    assert counted[key(requests, method="POST", route="/v1/recordings", status="201")] == 1
    assert counted[key(requests, method="GET", route="/v1/recordings/{recording_id}", status="404")] == 1
    # A first error of the server's is an increase of a series that is there.
    assert counted[key(requests, method="POST", route="/v1/recordings", status="500")] == 0
    assert counted[key(requests, method="GET", route="/v1/recordings/{recording_id}", status="503")] == 0
    assert counted[key(requests, method="GET", route="none", status="404")] == 2
    assert counted[key(requests, method="GET", route="none", status="401")] == 1
    assert counted[key(requests, method="other", route="/healthz", status="405")] == 1
    assert counted[key("wavstream_http_request_seconds_count", method="POST", route="/v1/recordings")] == 1
    routes = {dict(labels)["route"] for name, labels in counted if name == requests}
    assert routes > {"/health", "/v2/calls/{call_control_id:any_text}/actions/record_stop"}
    assert not any(word in value for _, labels in counted for _, value in labels for word in ("elsewhere", "nobodys"))
