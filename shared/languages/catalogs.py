"""Translations, read from the catalogs that translators edit.

They are read when a language is first needed (a tenth of a second), not compiled beforehand, so that they are never
older than the file.
"""

from io import BytesIO
from pathlib import Path
from typing import Any, Final

from babel.support import NullTranslations, Translations

from shared.errors import PneumoScreenError
from shared.languages.languages import ENGLISH, LANGUAGES

TRANSLATIONS: Final = Path(__file__).parent / "translations"
_RESTORE: Final = "Restore the folder shared/languages/translations of this version."


class CatalogMissing(PneumoScreenError):
    """Say which translations are missing: without them pages and e-mails would silently be in English."""


def check_catalogs(folder: Path) -> None:
    """Raise CatalogMissing where a folder of translations lacks a language that accounts can choose."""
    missing = [path for code in LANGUAGES if code != ENGLISH and not (path := catalog_path(folder, code)).is_file()]
    if missing:
        raise CatalogMissing(f"There is no {' and no '.join(map(str, missing))}. {_RESTORE}")


def catalog_path(folder: Path, language: str) -> Path:
    """Return gettext's path for the catalog of a language in a folder of translations."""
    return folder / language / "LC_MESSAGES" / "messages.po"


def parse_catalog(folder: Path, language: str) -> Any:
    """Return the messages of a catalog, with their source locations; raise CatalogMissing where there is none."""
    from babel.messages.pofile import read_po  # noqa: PLC0415  # English needs none of it

    path = catalog_path(folder, language)
    try:
        with path.open("rb") as file:
            return read_po(file, locale=language, abort_invalid=True)
    except FileNotFoundError as error:
        raise CatalogMissing(f"There is no {path}. {_RESTORE}") from error


def read_translations(folder: Path, language: str) -> NullTranslations:
    """Return the translations of a language, none for English; raise CatalogMissing where it has no catalog."""
    if language == ENGLISH:
        return NullTranslations()
    from babel.messages.mofile import write_mo  # noqa: PLC0415  # English needs none of it

    compiled = BytesIO()
    write_mo(compiled, parse_catalog(folder, language))
    compiled.seek(0)
    return Translations(compiled)
