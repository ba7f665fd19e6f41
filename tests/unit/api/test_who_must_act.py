"""Every API tells its callers, in its own shape, who must act when a part that the server depends on fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi import Response
from structlog.testing import capture_logs

from wavstream.api.bird import mount as bird
from wavstream.api.gateway import answers as gateway
from wavstream.api.problems import problem_of
from wavstream.api.signalwire import answers as signalwire
from wavstream.api.telnyx import refusals as telnyx
from wavstream.errors import CatalogDamaged, CatalogLocked, DependencyError, NotYetSafe, WavstreamError
from wavstream.service.logs import tell_known

SHAPES = [problem_of, gateway.refusal_of, telnyx.refusal, bird.refusal, signalwire.refusal]


@pytest.mark.parametrize("refuse", SHAPES, ids=lambda refuse: refuse.__module__.removeprefix("wavstream.api."))
@pytest.mark.parametrize("error", [CatalogLocked, CatalogDamaged, NotYetSafe])
def test_whoever_asks_is_told_that_whoever_runs_the_server_must_act(
    refuse: Callable[[WavstreamError], Response], error: type[DependencyError]
) -> None:
    with capture_logs() as logs:
        answer = refuse(error("/srv/data/catalog.db: a path is for the log alone"))

    assert answer.status_code == 503
    assert b"whoever runs the server has to" in answer.body
    assert b"/srv/data" not in answer.body
    assert not any(tell_known(None, "error", line).get("exc_info") for line in logs)
