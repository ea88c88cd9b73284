"""Every argument of every route of the URL map, with hostile values: a 4xx with a sentence, never a fault of ours."""

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from flask import Flask, request
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.datastructures import ImmutableMultiDict

from fuzz.parameters import DEEP, Attack, ParameterRun, Route, attacks, cursors
from shared.db import Database
from shared.models.spec import ModelSpec
from shared.settings import Settings
from shared.tables import Role, Screening
from tests.conftest import draw, encode
from tests.web_site import Site, post_images, token_of
from web.lists.filters import FILTERS

OF_FILTERS = [*FILTERS, "order", "format", "cursor", "limit"]
ONE = random.Random(1)  # noqa: S311  # seeded, to be repeated
SPOILS = {"auth.sign_out", "auth.password", "account.end_other_sessions", "static"}


@dataclass
class Target:
    """A site with something in it, and who asks."""

    site: Site
    browser: FlaskClient
    program: FlaskClient
    token: str
    ids: dict[str, str]

    def ask(self, attack: Attack) -> int:
        is_program = attack.path.startswith("/api/")
        client = self.program if is_program else self.browser
        options: dict[str, Any] = {"query_string": dict(attack.query), "headers": dict(attack.headers)}
        if attack.body is not None:
            options |= {"data": attack.body}
        elif attack.method != "GET":
            options |= {"data": {"csrf_token": self.token, **attack.form}}
        answer = client.open(attack.path, method=attack.method, **options)
        status = answer.status_code
        answer.get_data()
        answer.close()
        return status


@pytest.fixture
def target(settings: Settings, sqlite_database: Database, spec: ModelSpec) -> Target:
    return prepare(settings, sqlite_database, spec)


def prepare(settings: Settings, database: Database, spec: ModelSpec) -> Target:
    """Send a job to a site."""
    site = Site(settings, database, upload_limit="100000 per minute", sign_in_limit="100000 per minute")
    site.app.config["PROPAGATE_EXCEPTIONS"] = False
    site.install_model(spec)
    admin, other = site.add_user("ada", Role.ADMIN), site.add_user("bob")
    program, browser = site.token_client(admin), site.browser(admin)
    sent = post_images(program, ("a.png", encode(draw(1), "PNG")), ("b.txt", b"no image"))
    assert sent.json is not None
    with database.read() as session:
        image = session.scalars(select(Screening.id).order_by(Screening.position)).first()
    ids = {"job_id": sent.json["id"], "screening_id": str(image), "user_id": str(other.id)}
    return Target(site, browser, program, token_of(browser.get("/help")), ids)


def routes_of(app: Flask, names: dict[str, set[str]]) -> list[Route]:
    """Every method of every rule, with the arguments that its view reads."""
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint not in SPOILS]
    return [
        Route(method, str(rule), tuple(sorted(names[rule.endpoint])))
        for rule in rules
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]


def names_read(target: Target) -> dict[str, set[str]]:
    """Call every route and note the arguments that its view looks for."""
    names: dict[str, set[str]] = defaultdict(set)
    app = target.site.app

    class Noting(ImmutableMultiDict[str, str]):
        def __getitem__(self, key: str) -> str:
            names[request.endpoint or ""].add(key)
            return super().__getitem__(key)

        def get(self, key: str, *args: Any, **options: Any) -> Any:
            names[request.endpoint or ""].add(key)
            return super().get(key, *args, **options)

        def items(self, multi: bool = False) -> Iterator[tuple[str, str]]:
            names[request.endpoint or ""].update(OF_FILTERS)
            return super().items(multi)

        def __contains__(self, key: object) -> bool:
            names[request.endpoint or ""].add(str(key))
            return super().__contains__(key)

    usual = app.request_class.parameter_storage_class
    app.request_class.parameter_storage_class = Noting
    try:
        for route in routes_of(app, names):
            if not route.is_last:
                attack = next(iter(attacks([Route(route.method, route.rule, ("x",))], target.ids, ONE, 1)))
                target.ask(replace(attack, query={}))  # the API refuses what it does not name before a view reads any
    finally:
        app.request_class.parameter_storage_class = usual
    return names


def attack_every_route(target: Target, each: int, seed: int) -> ParameterRun:
    """Send hostile arguments to all that the URL map has."""
    names = names_read(target)
    assert {"cursor", "limit", "since", "label"} <= names["api.list_predictions"]
    assert {"cursor", "person"} <= names["audit.index"]
    assert {"name", "days"} <= names["account.tokens"]
    run = ParameterRun()
    chosen = random.Random(seed)  # noqa: S311  # seeded, to be repeated
    for attack in attacks(routes_of(target.site.app, names), target.ids, chosen, each):
        run.send(attack, target.ask)
    return run


def test_hostile_arguments_are_refused_with_a_sentence(target: Target) -> None:
    run = attack_every_route(target, 1, 7)
    assert run.faults == []
    assert run.statuses[422] > 20, run.statuses


@pytest.mark.long
def test_hostile_arguments_hurt_neither_database(settings: Settings, database: Database, spec: ModelSpec) -> None:
    run = attack_every_route(prepare(settings, database, spec), 3, 8)
    assert run.faults == []
    assert run.statuses[422] > 50, run.statuses


LISTS = ["/api/v1/jobs", "/api/v1/predictions", "/api/v1/predictions?order=suspicious", "/api/v1/audit", "/jobs"]
LISTS += ["/history?order=suspicious", "/audit", "/users", "/api/v1/jobs/{job_id}/screenings", "/jobs/{job_id}"]


def test_no_cursor_that_no_answer_gave_is_a_fault(target: Target) -> None:
    run = ParameterRun()
    for number, cursor in enumerate(cursors()):
        address = LISTS[number % len(LISTS)].format(**target.ids)
        path, _, query = address.partition("?")
        clean = cursor.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        extra = dict(pair.split("=") for pair in query.split("&") if pair)
        run.send(Attack("GET", path, {**extra, "cursor": clean}), target.ask)
    assert run.faults == []
    assert run.statuses[422] > len(cursors()) / 2


@pytest.mark.parametrize("body", [DEEP, '{"name":' * 50_000], ids=["brackets", "braces"])
def test_deep_json_is_refused(target: Target, body: str) -> None:
    answer = target.program.post("/api/v1/jobs", data=body, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json is not None
    assert "brackets" in answer.json["detail"] or "JSON" in answer.json["detail"]


def test_an_invented_argument_is_not_one_of_ours(target: Target) -> None:
    images = [(f"{n}.txt", b"no image") for n in range(3)]
    post_images(target.program, *images)
    invented = {"_external": "1", "_scheme": "javascript", "endpoint": "x", "limit": "1"}
    assert target.program.get("/api/v1/predictions", query_string=invented).status_code == 422
    answer = target.program.get("/api/v1/predictions", query_string={"limit": "1"})
    assert answer.json is not None
    assert answer.json["next"].startswith("/api/v1/predictions?")
    assert target.program.get(answer.json["next"]).status_code == 200
    page = target.browser.get(f"/jobs/{target.ids['job_id']}", query_string={**invented, "job_id": "x"})
    assert page.status_code == 200
    assert f'data-fragment="/jobs/{target.ids["job_id"]}/fragment"' in page.text
