"""Text in reports: any script, any hostile name, and what the fonts lack."""

import io
import re
import unicodedata

import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PageObject, PdfReader
from pypdf.generic import ContentStream

from web.languages.languages import install
from web.reports.document import SMALL, Column, Document
from web.reports.letters import printable, shorten


def text_of(document: Document) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(document.finish())).pages)


def _content(page: PageObject) -> bytes:
    content = page.get_contents()
    assert content is not None
    return content.get_data()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Müller ελ Жук.png", "Müller ελ Жук.png"),
        ("छाती का एक्स-रे.png", "छाती का एक्स-रे.png"),
        ("胸部 X光片.png", "胸部 X光片.png"),
        ("ทรวงอก.png", "ทรวงอก.png"),
        ("a\u202egnp.exe", "a[U+202E]gnp.exe"),
        ("a\nb\0c\x1b[31m", "a[U+000A]b[U+0000]c[U+001B][31m"),
        ("adult \U0001f9d1.png", "adult [U+1F9D1].png"),
        ("half \ud800.png", "half [U+D800].png"),
        ("page {nb} of \u2063", "page {nb} of [U+2063]"),
        ("<b>bold</b> **x** &amp;", "<b>bold</b> **x** &amp;"),
    ],
)
def test_a_name_shows_whole_whatever_it_holds(name: str, shown: str) -> None:
    document = Document(name, "Printed")
    document.facts([("Name", name)])
    assert printable(name) == shown
    assert shown in text_of(document)


def test_arabic_is_joined_and_its_number_is_not_turned() -> None:
    document = Document("", "")
    document.table([Column("X-ray", 80), Column("Suspicion", 20)], [["صورة الصدر 87.png", "87"], ["a 87", "87"]])
    document.facts([("Name", "صورة الصدر 87.png")])
    text = text_of(document)
    assert text.count("صورة الصدر") == 2
    assert "78" not in text
    assert text.count("87") == 5


def test_a_text_that_goes_on_on_the_next_page_stays_joined() -> None:
    document = Document("", "Printed")
    document.paragraph("سلام " * 3000)
    pages = PdfReader(io.BytesIO(document.finish())).pages
    assert len(pages) > 2
    # Joined letters are placed one by one, in forms of their own; footers are not.
    drawn = [{glyph for glyph in re.findall(rb"\((.*?)\) Tj", _content(page)) if len(glyph) == 2} for page in pages]
    assert len(drawn[0]) > 3
    assert drawn[1] == drawn[0]


@given(st.text(st.characters(), max_size=80))
@settings(max_examples=6)
def test_no_text_stops_a_report_and_none_is_left_out(text: str) -> None:
    shown = printable(text)
    assert not [letter for letter in shown if unicodedata.category(letter) in {"Cc", "Cs", "Cn", "Co"}]
    document = Document(text, text)
    document.heading(text)
    document.facts([("Name", text)])
    document.table([Column("X-ray", 40), Column("Why", 60, is_number=True)], [[text, text], ["a", "b"]])
    assert "Page 1 of " in text_of(document)


def test_no_row_is_parted_and_each_page_has_the_head_of_the_table() -> None:
    document = Document("job", "Printed")
    columns = [Column("Title of the names", 60, is_name=True), Column("Number", 20, is_number=True)]
    document.table(columns, [["x" * 150, f"row {number}."] for number in range(30)])
    pages = [page.extract_text() for page in PdfReader(io.BytesIO(document.finish())).pages]
    assert len(pages) > 1
    assert all("Title of the names" in page and f"of {len(pages)}" in page for page in pages)
    assert [page.count("x" * 10) > 0 for page in pages] == [True] * len(pages)
    for page in pages:
        assert len("".join(re.findall("x+", page))) == 150 * page.count("row ")


def test_a_long_name_is_cut_in_its_middle() -> None:
    assert shorten("a" * 200 + "end.png", 20) == "a" * 9 + "…" + "aaaend.png"[-10:]
    assert shorten("short.png", 20) == "short.png"


@pytest.mark.parametrize(("code", "is_name_first"), [("en", True), ("ar", False)])
def test_arabic_reports_begin_at_the_right(code: str, is_name_first: bool) -> None:
    app = Flask("web")
    install(app)
    with app.test_request_context(headers={"Accept-Language": code}):
        document = Document("", "")
        document.facts([("Name", "Value")])
        document.table([Column("X-ray", 80), Column("Suspicion", 20)], [["image", "87"]])
    places: dict[str, float] = {}

    def note(text: str, _matrix: object, place: list[float], _font: object, _size: object) -> None:
        places[text.strip()] = place[4]

    reader = PdfReader(io.BytesIO(document.finish()))
    reader.pages[0].extract_text(visitor_text=note)
    assert (places["Name"] < places["Value"], places["image"] < places["87"]) == (is_name_first, is_name_first)
    assert str(reader.root_object["/Lang"]) == code


def test_the_number_of_pages_ends_at_the_margin() -> None:
    document = Document("", "Printed")
    document.paragraph("a word " * 9000)
    pages = PdfReader(io.BytesIO(document.finish())).pages
    assert len(pages) >= 10, "it has two digits"
    for number, page in enumerate(pages, 1):
        shown, starts = f"Page {number} of {len(pages)}", []
        page.extract_text(visitor_text=lambda text, _m, at, *_, s=shown, f=starts: s in text and f.append(at[4]))
        document.set_font(size=SMALL)
        ends = starts[0] / document.k + document.get_string_width(shown)
        assert ends == pytest.approx(document.w - document.r_margin - document.c_margin, abs=0.1)


def test_a_text_after_one_in_another_script_keeps_its_own_font() -> None:
    document = Document("", "")
    document.heading("结果")
    document.facts([("模型", "test-model")])
    page = PdfReader(io.BytesIO(document.finish())).pages[0]
    font: tuple[str, float] = ("", 0)
    kept: list[tuple[str, float]] = []
    drawn: list[tuple[str, float]] = []
    for operands, operator in ContentStream(page.get_contents(), page.pdf).operations:
        if operator == b"q":
            kept.append(font)
        elif operator == b"Q":
            font = kept.pop()
        elif operator == b"Tf":
            font = (operands[0], float(operands[1]))
        elif operator == b"Tj" and len(operands[0].original_bytes) == 2 * len("test-model"):
            drawn.append(font)
    assert drawn[0] == ("/F1", 9.5), "the plain font, in the size of facts"
