"""Which language a page is in, and how numbers, times and plurals are written in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import write_po
from flask import Flask, g

from shared.errors import TranslatableError, TryLater
from shared.languages.catalogs import CatalogMissing, read_translations
from tests.pseudo_language import link_others
from web.base import numbers, suspicion
from web.http import static_files
from web.languages import languages
from web.languages.collect import KEYWORDS
from web.languages.text import NC_, _, count, decimal, pgettext, plural, say


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    catalog = Catalog(locale="ar")
    catalog.add(
        ("%(count)s file", "%(count)s files"),
        ("صفر", "ملف", "ملفان", "%(count)s ملفات", "%(count)s ملفًا", "%(count)s ملف"),
    )
    catalog.add("Sign out", "تسجيل الخروج", locations=[("web/templates/base.html", 1)])
    catalog.add("Press %(key)s", "اضغط %(key)s", locations=[("web/static/js/keys.js", 1)])
    catalog.add("Sent", "أُرسلت", context="an X-ray")
    catalog.add("Sent", "أُرسل", context="a file", locations=[("web/static/js/filelist.js", 1)])
    path = tmp_path / "ar" / "LC_MESSAGES" / "messages.po"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        write_po(file, catalog)
    link_others(tmp_path, "ar")
    app = Flask(__name__, static_folder=None)
    static_files.install(app, tmp_path, languages.install(app, tmp_path))
    return app


@contextmanager
def asked(app: Flask, accepted: str = "", *, chosen: str | None = None, by_token: bool = False) -> Iterator[None]:
    """A request of a browser with these languages, or of an account or a program."""
    with app.test_request_context(headers={"Accept-Language": accepted}):
        g.by_token = by_token
        if chosen is not None:
            g.user = type("Account", (), {"language": chosen, "time_zone": None})()
        yield


@pytest.mark.parametrize(
    ("accepted", "chosen", "by_token", "expected"),
    [
        ("", None, False, "en"),
        ("de-AT, de;q=0.9", None, False, "en"),
        ("es-MX, en;q=0.5", None, False, "es"),
        ("pt-BR", None, False, "pt"),
        ("zh-CN, en;q=0.1", None, False, "zh"),
        ("de, ar;q=0.8, en;q=0.5", None, False, "ar"),
        ("es", "fr", False, "fr"),
        ("es", "xx", False, "es"),
        ("es", "fr", True, "en"),
    ],
)
def test_the_account_chooses_then_the_browser(
    app: Flask, accepted: str, chosen: str | None, by_token: bool, expected: str
) -> None:
    with asked(app, accepted, chosen=chosen, by_token=by_token):
        assert languages.current_code() == expected


def test_texts_come_from_the_catalog_and_english_is_the_key(app: Flask) -> None:
    with asked(app, "ar"):
        assert (_("Sign out"), _("Not in the catalog"), _("")) == ("تسجيل الخروج", "Not in the catalog", "")
    assert _("Sign out") == "Sign out"


def test_one_text_is_translated_by_its_context(app: Flask) -> None:
    kept = NC_("an X-ray", "Sent")
    with asked(app, "ar"):
        template = app.jinja_env.from_string("{{ pgettext('a file', 'Sent') }}, {{ _(kept) }}")
        assert template.render(kept=kept) == "أُرسل, أُرسلت"
        assert (_(kept), pgettext("a file", "Sent"), _("Sent")) == ("أُرسلت", "أُرسل", "Sent")
    assert (kept, _(kept), pgettext("a file", "Sent")) == ("Sent", "Sent", "Sent")


@pytest.mark.parametrize(
    ("number", "text"), [(0, "صفر"), (1, "ملف"), (2, "ملفان"), (5, "5 ملفات"), (11, "11 ملفًا"), (100, "100 ملف")]
)
def test_arabic_has_six_forms(app: Flask, number: int, text: str) -> None:
    with asked(app, "ar"):
        assert plural(number, "%(count)s file", "%(count)s files") == text


@pytest.mark.parametrize(
    ("language", "whole", "half", "share"),
    [
        ("en", "1,234,567", "1,234.5", "12.3%"),
        ("es", "1.234.567", "1.234,5", "12,3\N{NO-BREAK SPACE}%"),
        ("fr", "1\u202f234\u202f567", "1\u202f234,5", "12,3\N{NO-BREAK SPACE}%"),
        ("pt", "1.234.567", "1.234,5", "12,3%"),
        ("hi", "12,34,567", "1,234.5", "12.3%"),
        ("zh", "1,234,567", "1,234.5", "12.3%"),
    ],
)
def test_numbers_are_written_as_the_language_does(app: Flask, language: str, whole: str, half: str, share: str) -> None:
    with asked(app, language):
        assert (count(1234567), decimal(1234.5, 1), numbers.percent(0.1234)) == (whole, half, share)


@pytest.mark.parametrize(("language", "said"), [("en", "1,234 of 5,000.2"), ("es", "1.234 of 5.000,2")])
def test_the_numbers_of_an_error_are_written_as_the_language_does(app: Flask, language: str, said: str) -> None:
    error = TranslatableError("%(inner)s of %(most)s", inner=TranslatableError("%(n)s", n=1234), most=5000.25)
    with asked(app, language):
        assert say(error) == said
    assert str(error) == "1,234 of 5,000.2"


def test_every_error_that_pages_show_is_collected() -> None:
    named = {keyword.partition(":")[0] for keyword in KEYWORDS}
    assert {kind.__name__ for kind in kinds(TranslatableError) if kind is not TryLater} <= named


def kinds(of: type) -> set[type]:
    """Every class below one, of those that are imported."""
    return {inner for kind in of.__subclasses__() for inner in {kind, *kinds(kind)}}


def test_a_suspicion_keeps_its_decimals(app: Flask) -> None:
    with asked(app, "fr"):
        assert suspicion.number(0.30021, 0.3002) == "30,021"


@pytest.mark.parametrize(
    ("language", "text"),
    [("en", "5 Mar 2026, 14:07 UTC"), ("es", "5 mar 2026, 14:07 UTC"), ("zh", "2026年3月5日 14:07 UTC")],
)
def test_times_are_written_as_the_language_does(app: Flask, language: str, text: str) -> None:
    with asked(app, language):
        assert numbers.moment_text(datetime(2026, 3, 5, 14, 7, tzinfo=UTC)) == text


def test_scripts_get_their_own_texts_alone(app: Flask) -> None:
    answer = app.test_client().get("/static/words/ar.json")
    assert answer.mimetype == "application/json"
    assert answer.json == {"Press %(key)s": "اضغط %(key)s", "a file\x04Sent": "أُرسل"}
    assert app.test_client().get("/static/words/en.json").status_code == 404


def test_an_application_without_a_catalog_does_not_start(app: Flask, tmp_path: Path) -> None:
    (tmp_path / "es").unlink()
    with pytest.raises(CatalogMissing, match=r"There is no \S+/es/LC_MESSAGES/messages\.po\. Restore"):
        languages.install(Flask(__name__), tmp_path)
    with pytest.raises(CatalogMissing, match="/es/"):
        read_translations(tmp_path, "es")
    assert read_translations(tmp_path, "en").ugettext("Sign out") == "Sign out"
