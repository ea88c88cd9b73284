"""Text that goes into a table that a spreadsheet opens."""

from typing import Final

# Spreadsheets run a cell that begins with one of these (owasp.org/www-community/attacks/CSV_Injection).
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")


def neutral(text: str) -> str:
    """Put an apostrophe before text that a spreadsheet would run as a formula."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
