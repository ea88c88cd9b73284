"""Escape text for tables that a spreadsheet opens."""

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Final

# Spreadsheets evaluate a cell that begins with one of these (owasp.org/www-community/attacks/CSV_Injection). Some fold
# full-width and small forms to them (Unicode's compatibility forms), and leading blanks do not always help.
_STARTS: Final = "=+-@"
_FORMS: Final = "".join(
    character
    for character in map(chr, range(0x80, 0x10000))
    if unicodedata.normalize("NFKC", character) in {*_STARTS, "\N{MINUS SIGN}"}
)
_FORMULA: Final = f"[{re.escape(_STARTS + _FORMS)}]"
_UNSEEN: Final = r"[\s\x00-\x20\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\"]*"
# Where regional settings say so, a comma-separated file is split at semicolons, tabs or bars.
_SEPARATORS: Final = r"[;,|\t\r\n]"
_CELL: Final = re.compile(rf"(?:\A|(?<={_SEPARATORS}))(?={_UNSEEN}{_FORMULA})|\A(?=[\t\r\n])")
_JSON_TEXT: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_JSON_CELL: Final = re.compile(rf"(?<={_SEPARATORS})([\s']*)({_FORMULA})")


def neutral(text: str) -> str:
    """Put an apostrophe before all that a spreadsheet would evaluate as a formula, wherever it splits the text."""
    return _CELL.sub("'", text)


def neutral_json(values: Mapping[str, object]) -> str:
    """Write JSON in which no text has a formula behind a separator: its first character is escaped as a number."""
    return _JSON_TEXT.sub(_by_number, json.dumps(values, sort_keys=True))


def _by_number(text: re.Match[str]) -> str:
    return _JSON_CELL.sub(lambda found: f"{found[1]}\\u{ord(found[2]):04x}", text[0])
