"""The translations, read from the catalogs that translators edit.

They are read when a language is first asked for (a tenth of a second), not compiled beforehand: what is served is then
never older than the file.
"""

from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from babel.support import NullTranslations, Translations
from flask_babel import Domain, get_locale

SCRIPTS: Final = "web/static/js/"
"""Where the texts of scripts stand; a catalog names the place of each text."""


def catalog_path(folder: Path, language: str) -> Path:
    """Return where the catalog of a language is in a folder of translations, as gettext has it."""
    return folder / language / "LC_MESSAGES" / "messages.po"


class Catalogs(Domain):
    """The translations of every language, in one folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self._folder = folder
        self._read = cache(self._read_from_file)

    def get_translations(self) -> NullTranslations:
        """Return the translations into the language that is written in now; English is what the texts are."""
        locale = get_locale()
        return self._read(locale.language) if locale is not None else NullTranslations()

    def count_forms(self, one: str, many: str, number: int) -> str:
        """Return the form of a text that goes with a number."""
        return str(self.get_translations().ungettext(one, many, number))

    def path(self, language: str) -> Path:
        """Return where the catalog of a language is, or would be."""
        return catalog_path(self._folder, language)

    def script_words(self, language: str) -> dict[str, Any]:
        """Return the translations of the texts of scripts: a text, or a list of its forms, by the English one."""
        words: dict[str, Any] = {}
        for message in self._parse(language) if self.path(language).is_file() else ():
            if not message.id or not any(place.startswith(SCRIPTS) for place, _ in message.locations):
                continue
            key = message.id[0] if isinstance(message.id, tuple) else message.id
            if all(message.string) if isinstance(message.string, tuple) else message.string:
                words[key] = message.string
        return words

    def _read_from_file(self, language: str) -> NullTranslations:
        if not self.path(language).is_file():
            return NullTranslations()
        from babel.messages.mofile import write_mo  # noqa: PLC0415  # English needs none of it

        compiled = BytesIO()
        write_mo(compiled, self._parse(language))
        compiled.seek(0)
        return Translations(compiled)

    def _parse(self, language: str) -> Any:
        from babel.messages.pofile import read_po  # noqa: PLC0415  # English needs none of it

        with self.path(language).open("rb") as file:
            return read_po(file, locale=language, abort_invalid=True)
