"""Templates use only names that their context has, and contexts hold only names that their template uses."""

from collections.abc import Iterator
from dataclasses import fields

import pytest
from jinja2 import Environment, meta, nodes

from shared.db import Database
from shared.settings import Settings
from tests.conftest import ROOT
from tests.web_site import Site
from web.base.contexts import PageContext


@pytest.fixture
def site(settings: Settings, sqlite_database: Database) -> Site:
    return Site(settings, sqlite_database, oidc_issuer="https://id.example", oidc_client_id="pneumoscreen")


def contexts(of: type[PageContext] = PageContext) -> Iterator[type[PageContext]]:
    for found in of.__subclasses__():
        yield found
        yield from contexts(found)


def parsed(environment: Environment, template: str) -> nodes.Template:
    assert environment.loader is not None
    return environment.parse(environment.loader.get_source(environment, template)[0])


def names_used(environment: Environment, template: str, seen: set[str]) -> set[str]:
    """The names that a template takes from its context, with those of what it extends and includes."""
    seen.add(template)
    tree = parsed(environment, template)
    used = meta.find_undeclared_variables(tree)
    for node in tree.find_all((nodes.Extends, nodes.Include)):
        assert isinstance(node.template, nodes.Const), f"{template} names another template by an expression"
        if node.template.value not in seen:
            used |= names_used(environment, node.template.value, seen)
    return used - set(names_made(tree))


def names_made(tree: nodes.Template) -> Iterator[str]:
    """What a template makes itself; Jinja calls it undeclared where a block, an include or one branch only uses it."""
    for name in tree.find_all(nodes.Name):
        if name.ctx in {"store", "param"}:
            yield name.name
    for macro in tree.find_all(nodes.Macro):
        yield macro.name
    for imported in tree.find_all(nodes.FromImport):
        yield from (name for name in imported.names if isinstance(name, str))


def test_every_template_finds_its_names_in_its_context(site: Site) -> None:
    environment = site.app.jinja_env
    with site.app.test_request_context():
        always: dict[str, object] = {}
        site.app.update_template_context(always)
    found = list(contexts())
    assert len(found) >= 15
    for context in found:
        own = {field.name for field in fields(context)}
        used = names_used(environment, context.template, set())
        assert used - own - set(always) - set(environment.globals) == set(), context.template
        assert own - used == set(), f"{context.template} does not use these of {context.__name__}"


def test_imported_macros_need_no_context(site: Site) -> None:
    environment = site.app.jinja_env
    imported = {
        node.template.value
        for template in environment.list_templates()
        for node in parsed(environment, template).find_all((nodes.FromImport, nodes.Import))
    }
    assert imported >= {"macros.html", "shapes.html"}
    for template in imported:
        assert names_used(environment, template, set()) <= set(environment.globals), template


def test_no_page_is_made_without_a_context() -> None:
    calls = {
        str(path.relative_to(ROOT)) for path in (ROOT / "web").rglob("*.py") if "render_template(" in path.read_text()
    }
    assert calls == {"web/base/contexts.py"}
