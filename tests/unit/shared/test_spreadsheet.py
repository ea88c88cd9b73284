"""Tables that a spreadsheet opens: no text runs as a formula, however the program cuts the line into cells."""

import csv
import io
import json
import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.spreadsheet import neutral, neutral_json

WIDE = ["\uff1d", "\uff0b", "\uff0d", "\uff20", "\ufe66", "\u207c", "\N{MINUS SIGN}"]
PIECES = ["=", "+", "-", "@", *WIDE, ";", ",", "\t", "|", "\r", "\n"]
PIECES += [" ", "\ufeff", "\u200b", "\xa0", '"', "'", "a", "1", "cmd", "é"]


def runs(cell: str) -> bool:
    """Whether a spreadsheet that trims blanks and folds wide forms runs a cell."""
    seen = "".join(c for c in cell if not c.isspace() and unicodedata.category(c) not in {"Cc", "Cf"}).lstrip('"')
    return bool(seen) and unicodedata.normalize("NFKC", seen[0]) in {"=", "+", "-", "@", "\N{MINUS SIGN}"}


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_no_cell_runs_wherever_the_text_is_cut(text: str) -> None:
    made = neutral(text)
    assert not any(runs(cell) for cell in re.split(r"[;,|\t\r\n]", made)), made
    assert neutral(made) == made
    assert made.replace("'", "") == text.replace("'", ""), "nothing but apostrophes is added"


@pytest.mark.parametrize("text", ["ward-3/a+b=c@d.png", "M\N{HYPHEN}1", "Müller; Meier.png", "a - b.png", "", "'=1"])
def test_a_text_that_runs_nowhere_stays_as_it_is(text: str) -> None:
    assert neutral(text) == text


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), st.lists(st.sampled_from(PIECES), max_size=8).map("".join), max_size=3))
def test_json_in_a_cell_stays_what_it_says(values: dict[str, str]) -> None:
    made = neutral_json(values)
    assert json.loads(made) == values
    assert not any(runs(cell) for cell in re.split(r"[;,|\t\r\n]", made)), made


def test_a_line_that_is_cut_at_semicolons_runs_nothing() -> None:
    out = io.StringIO()
    csv.writer(out).writerow([neutral("plain.png"), neutral('x;=HYPERLINK("http://evil","see")'), neutral("\uff1d1")])
    assert not any(runs(cell) for cell in re.split("[;,]", out.getvalue().strip()))
