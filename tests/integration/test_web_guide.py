"""Help calls things what the pages call them."""

import html
import re

import pytest

from shared.db import Database
from shared.settings import Settings
from shared.tables import Role
from tests.web_site import Site
from web.frame.words import REVIEW_KEYS


@pytest.mark.parametrize(("role", "has_keys"), [(Role.TECHNICIAN, False), (Role.READER, True)])
def test_help_names_suspicion_the_formats_of_the_first_page_and_a_reader_s_keys(
    settings: Settings, sqlite_database: Database, role: Role, has_keys: bool
) -> None:
    site = Site(settings, sqlite_database)
    text = html.unescape(site.browser(site.add_user("ann", role)).get("/help").text)
    assert "<dt>Suspicion</dt>" in text
    assert "p(pneumonia)" not in text
    assert "labelled Normal" not in text
    assert "DICOM (CR, DX, RG)" in text
    keys = set(re.findall(r"<kbd>(\w)</kbd>", text))
    assert (set(REVIEW_KEYS.values()) <= keys) is has_keys
