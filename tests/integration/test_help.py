"""The help page tells each role how to do its own work."""

import pytest

from shared.db import Database
from shared.settings import Settings
from shared.tables import Role
from tests.web_site import Site


@pytest.mark.parametrize(
    ("role", "sections"),
    [(Role.READER, {"read"}), (Role.TECHNICIAN, {"steps"}), (Role.ADMIN, {"read", "steps"})],
)
def test_each_role_is_shown_the_steps_of_its_work(
    settings: Settings, sqlite_database: Database, role: Role, sections: set[str]
) -> None:
    site = Site(settings, sqlite_database)
    page = site.browser(site.add_user("somebody", role)).get("/help").text
    assert {name for name in ("read", "steps") if f'<section class="card" id="{name}">' in page} == sections
    assert {name for name in ("read", "steps") if f'href="#{name}"' in page} == sections
