"""What holds for every test: nothing of the machine's own settings or pace reaches it."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import nullcontext

import pytest
from hypothesis import HealthCheck, settings

from tests.support.examples import OF_MOST
from tests.support.nats import NatsCluster, NatsServer, running_nats, running_nats_cluster
from tests.support.postgres import on_postgres
from tests.support.weed import Weed, running_weed
from wavstream.settings import OLDER_VARIABLES, PREFIX

# At import, before any test module is: some read settings while they are collected.
for name in list(os.environ):
    if name.upper().startswith(PREFIX) or name in OLDER_VARIABLES.values():
        del os.environ[name]

# What is imported and collected stays until the end, a million objects. Looking through them for garbage took 5 of the
# 19 s of CPU in which each process collects the suite, and an eighth of what the API's unit tests take. So nobody looks
# until they are all there, and not at them then.
gc.disable()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of a module that says ``DATABASES`` on each of them: its catalogs, or those of its servers."""
    if databases := getattr(metafunc.module, "DATABASES", None):
        if "database" not in metafunc.fixturenames:
            metafunc.fixturenames.append("catalogs_of_servers")
        name = "database" if "database" in metafunc.fixturenames else "catalogs_of_servers"
        metafunc.parametrize(name, databases, indirect=True)


@pytest.fixture
def catalogs_of_servers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give servers that a test starts in this process their catalogs in such a database."""
    with on_postgres() if request.param == "postgresql" else nullcontext():
        yield


def pytest_collection_finish() -> None:
    """Look for garbage from now on, and among what tests make alone."""
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(10_000, 10, 10)  # with the default of 700, 2.8 s in 30 s of those tests; so 0.5 s


# The same examples each time, however slow the machine is: a few in each run, and with `--hypothesis-profile=long` all
# that were found to tell something. `--hypothesis-profile=default` looks for others, as many as that.
steady = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("steady", steady, max_examples=OF_MOST // 4)
settings.register_profile("long", steady, max_examples=OF_MOST)
settings.load_profile("steady")


@pytest.fixture(scope="module")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weed]:
    """Run a real S3 server for the tests of a module."""
    with running_weed(tmp_path_factory.mktemp("weed")) as running:
        yield running


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """Run a real NATS of one server for the tests of a module."""
    with running_nats(tmp_path_factory.mktemp("nats")) as running:
        yield running


@pytest.fixture(scope="module")
def nats_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsCluster]:
    """Run a real NATS of three servers for the tests of a module."""
    with running_nats_cluster(tmp_path_factory.mktemp("nats")) as running:
        yield running
