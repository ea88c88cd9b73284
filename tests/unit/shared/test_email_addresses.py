"""Which texts are e-mail addresses that can be written to."""

import pytest

from shared.email_addresses import LONGEST, to_ascii


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("nora@klinik.example", "nora@klinik.example"),
        ("nora.n+x@klinik.example", "nora.n+x@klinik.example"),
        ("nora@krankenhäuser.example", "nora@xn--krankenhuser-ncb.example"),
    ],
)
def test_an_address_goes_over_the_wire_in_ascii(given: str, expected: str) -> None:
    assert to_ascii(given) == expected


@pytest.mark.parametrize(
    "given",
    [
        "",
        "@",
        "nora",
        "nora@",
        "@klinik.example",
        "a@b@c",
        "a..b@c",
        "a@b..c",
        "a b@c",
        "a@b c",
        "Nora <nora@klinik.example>",
        "<nora@klinik.example>",
        "nora@klinik.example, eve@example.org",
        "nora@klinik.example\n",
        "nora@klinik.example\r\nBcc: eve@example.org",
        "nora\r\n@klinik.example",
        "nora@klinik.example\x00",
        "nora@klinik.example\u2028X",
        '"nora n"@klinik.example',
        "nora(comment)@klinik.example",
        "nora@[127.0.0.1]",
        "jürgen@klinik.example",
        "=?utf-8?q?=0D=0ABcc:?=@klinik.example",
        "a@" + "b" * 64 + ".example",
        "a" * LONGEST + "@b",
        "\ud800@b",
        "a@\ud800",
    ],
)
def test_anything_else_is_none(given: str) -> None:
    assert to_ascii(given) is None
