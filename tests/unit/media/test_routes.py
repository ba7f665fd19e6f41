"""Which path leads where."""

from __future__ import annotations

import pytest

from tests.support.routes import ROUTES
from wavstream.dialects.detection import AutoDialect
from wavstream.dialects.freeswitch import AudioForkDialect
from wavstream.dialects.jambonz import BUCKET_VENDORS
from wavstream.dialects.pcm import PcmDialect
from wavstream.dialects.registry import DIALECTS
from wavstream.dialects.twilio import TwilioDialect
from wavstream.errors import NotFound, OperatorError
from wavstream.media.routes import Route, Routes
from wavstream.service.wiring import media_routes
from wavstream.settings.tables import MediaSettings

GENESYS = Route(dialect=TwilioDialect, parameters={"record": "1"}, ping_interval_s=0)
DEEP = Route(dialect=AudioForkDialect, parameters={})
OVER = Route(dialect=PcmDialect, parameters={"rate": "16000"})
ROUTED = Routes(DIALECTS, auto=AutoDialect, routes={"/genesys": GENESYS, "/genesys/b/c": DEEP, "/media/pcm": OVER})


@pytest.mark.parametrize("name", sorted(DIALECTS))
@pytest.mark.parametrize("ids", [(), ("s",), ("s", "a")])
def test_every_dialect_has_its_path_behind_which_session_and_leg_may_stand(name: str, ids: tuple[str, ...]) -> None:
    route, token, found = ROUTES.find("/".join(("/media", name, *ids)))
    assert (route.dialect, token, found) == (DIALECTS[name], None, ids)


@pytest.mark.parametrize(
    ("path", "token", "ids"),
    [
        ("/media", None, ()),
        ("/media/auto", None, ()),
        ("/media/auto/s", None, ("s",)),
        ("/media/auto/s/a", None, ("s", "a")),
        ("/media/t/TOKEN", "TOKEN", ()),
        ("/media/t/TOKEN/auto/s/a", "TOKEN", ("s", "a")),
    ],
)
def test_without_a_dialect_it_is_found_out(path: str, token: str | None, ids: tuple[str, ...]) -> None:
    found = ROUTES.find(path)
    assert (found.route.dialect, found.token, found.ids) == (AutoDialect, token, ids)


@pytest.mark.parametrize(
    ("path", "token", "ids"),
    [
        ("/media/t/TOKEN/pcm/s/a", "TOKEN", ("s", "a")),
        ("/media/pcm/t/TOKEN/s/a", "TOKEN", ("s", "a")),
        ("/media/pcm/t/TOKEN", "TOKEN", ()),
        ("/media/pcm/t", None, ("t",)),  # a session that is called so
        ("/media/t/t/pcm/t/t", "t", ("t", "t")),
    ],
)
def test_a_token_may_stand_in_front_of_the_dialect_or_behind_it(path: str, token: str | None, ids: object) -> None:
    found = ROUTES.find(path)
    assert (found.route.dialect, found.token, found.ids) == (PcmDialect, token, ids)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "media",
        "/medi",
        "/media/",
        "/media/s",
        "/media/s/a",
        "/media/pcm/s/a/b",
        "/media//pcm",
        "//media",
        "/media/t",
        "/media/t/TOKEN/s/a",
        "/media/pcm/t/TOKEN/s/a/b",
        "/other/pcm/s",
        "/MEDIA/pcm",
        "/t/TOKEN/media",
    ],
)
def test_what_is_no_path_of_ours_says_which_there_are(path: str) -> None:
    with pytest.raises(NotFound, match=r"The dialects are: .*pcm"):
        ROUTES.find(path)


@pytest.mark.parametrize(
    ("path", "route", "token", "ids"),
    [
        ("/genesys", GENESYS, None, ()),
        ("/genesys/s/a", GENESYS, None, ("s", "a")),
        ("/genesys/t/TOKEN/s", GENESYS, "TOKEN", ("s",)),
        ("/genesys/b/c", DEEP, None, ()),
        ("/genesys/b/c/s", DEEP, None, ("s",)),
        ("/genesys/b", GENESYS, None, ("b",)),
        ("/media/pcm/s", OVER, None, ("s",)),
        ("/media/t/TOKEN/pcm/s", OVER, "TOKEN", ("s",)),
    ],
)
def test_of_the_paths_that_fit_the_longest_counts_and_a_setting_takes_the_place_of_ours(
    path: str, route: Route, token: str | None, ids: tuple[str, ...]
) -> None:
    found = ROUTED.find(path)
    assert found.route is route
    assert (found.token, found.ids) == (token, ids)


def test_a_route_of_the_settings_has_its_dialect_its_parameters_and_its_pings() -> None:
    settings = MediaSettings.model_validate(
        {"routes": {"/asterisk": {"dialect": "pcm", "parameters": {"codec": "pcmu"}, "ping_interval_s": 0}, "/any": {}}}
    )
    routes = media_routes(settings)
    found = routes.find("/asterisk/s/a").route
    assert (found.dialect, found.parameters, found.ping_interval_s) == (PcmDialect, {"codec": "pcmu"}, 0)
    found = routes.find("/any").route
    assert (found.dialect, found.parameters, found.ping_interval_s) == (AutoDialect, {}, None)


@pytest.mark.parametrize("route", [{"dialect": "opus"}, {"parameters": {"dialect": "opus"}}])
def test_a_route_of_a_dialect_that_does_not_exist_says_which_there_are(route: dict[str, object]) -> None:
    with pytest.raises(OperatorError, match=r"media.routes /a: there is no dialect 'opus'; there are: .*auto.*pcm"):
        media_routes(MediaSettings.model_validate({"routes": {"/a": route}}))


@pytest.mark.parametrize("path", ["", "/", "genesys", "/genesys/", "/a b", "/a//b", "/ä"])
def test_a_path_that_is_none_is_refused_by_the_settings(path: str) -> None:
    with pytest.raises(ValueError, match="a path is expected"):
        MediaSettings.model_validate({"routes": {path: {}}})


@pytest.mark.parametrize("vendor", BUCKET_VENDORS)
def test_a_base_url_of_jambonz_may_end_with_a_slash(vendor: str) -> None:
    assert ROUTES.find(f"//record/{vendor}") == ROUTES.find(f"/record/{vendor}")
    own = Routes(DIALECTS, auto=AutoDialect, routes={f"/record/{vendor}": GENESYS})
    assert own.find(f"//record/{vendor}").route is GENESYS
