"""The translations that pages are written with, and those that their scripts fetch."""

from functools import cache
from pathlib import Path
from typing import Any, Final

from babel.support import NullTranslations
from flask_babel import Domain, get_locale

from shared.languages.catalogs import catalog_path, parse_catalog, read_translations

SCRIPTS: Final = "web/static/js/"
"""Where the texts of scripts stand; a catalog names the place of each text."""
CONTEXT: Final = "{}\x04{}"
"""How gettext writes context and text as one key (GNU gettext, "Contexts")."""


class Catalogs(Domain):
    """The translations of every language, in one folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self._folder = folder
        self._read = cache(read_translations)

    def get_translations(self) -> NullTranslations:
        """Return the translations into the language that is written in now; English is what the texts are."""
        locale = get_locale()
        return self._read(self._folder, locale.language) if locale is not None else NullTranslations()

    def count_forms(self, one: str, many: str, number: int) -> str:
        """Return the form of a text that goes with a number."""
        return str(self.get_translations().ungettext(one, many, number))

    def path(self, language: str) -> Path:
        """Return where the catalog of a language is, or would be."""
        return catalog_path(self._folder, language)

    def script_words(self, language: str) -> dict[str, Any]:
        """Return the translations of the texts of scripts: a text, or a list of its forms, by the English one.

        That of a text in a context stands under both, as gettext has it.
        """
        words: dict[str, Any] = {}
        for message in parse_catalog(self._folder, language):
            if not message.id or not any(place.startswith(SCRIPTS) for place, _ in message.locations):
                continue
            key = message.id[0] if isinstance(message.id, tuple) else message.id
            if message.context:
                key = CONTEXT.format(message.context, key)
            if all(message.string) if isinstance(message.string, tuple) else message.string:
                words[key] = message.string
        return words
