"""The translations, read from the catalogs that translators edit.

They are read when a language is first asked for (a tenth of a second), not compiled beforehand: what is used is then
never older than the file.
"""

from io import BytesIO
from pathlib import Path
from typing import Any, Final

from babel.support import NullTranslations, Translations

TRANSLATIONS: Final = Path(__file__).parent / "translations"


def catalog_path(folder: Path, language: str) -> Path:
    """Return where the catalog of a language is in a folder of translations, as gettext has it."""
    return folder / language / "LC_MESSAGES" / "messages.po"


def parse_catalog(folder: Path, language: str) -> Any:
    """Return the messages of a catalog that is there, with the places of their texts."""
    from babel.messages.pofile import read_po  # noqa: PLC0415  # English needs none of it

    with catalog_path(folder, language).open("rb") as file:
        return read_po(file, locale=language, abort_invalid=True)


def read_translations(folder: Path, language: str) -> NullTranslations:
    """Return the translations into a language; those of a language without a catalog leave each text as it is."""
    if not catalog_path(folder, language).is_file():
        return NullTranslations()
    from babel.messages.mofile import write_mo  # noqa: PLC0415  # English needs none of it

    compiled = BytesIO()
    write_mo(compiled, parse_catalog(folder, language))
    compiled.seek(0)
    return Translations(compiled)
