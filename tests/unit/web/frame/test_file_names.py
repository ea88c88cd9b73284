"""File names on pages: a line breaks after separators, and nothing is added to what is read or copied."""

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.frame.file_names import breakable


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("person1_virus_6.jpeg", "person1_<wbr>virus_<wbr>6.jpeg"),
        ("ward three/IM-0001.dcm", "ward three/<wbr>IM-<wbr>0001.dcm"),
        ("<b>_x", "&lt;b&gt;_<wbr>x"),
        ("last_", "last_"),
    ],
)
def test_a_line_may_be_broken_after_a_separator(name: str, written: str) -> None:
    assert str(breakable(name)) == written


@given(st.text())
def test_what_is_read_is_the_name_itself(name: str) -> None:
    assert html.unescape(str(breakable(name)).replace("<wbr>", "")) == name
