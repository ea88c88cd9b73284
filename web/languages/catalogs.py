"""The translations for pages, and those that their scripts fetch."""

from functools import cache
from pathlib import Path
from typing import Any, Final

from babel.support import NullTranslations
from flask_babel import Domain, get_locale

from shared.languages.catalogs import catalog_path, parse_catalog, read_translations

SCRIPTS: Final = "web/static/js/"
"""Where the texts of scripts are; a catalog names the location of each text."""
CONTEXT: Final = "{}\x04{}"
"""How gettext joins context and text into one key (GNU gettext, "Contexts")."""


class Catalogs(Domain):
    """The translations of every language, in one folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self._folder = folder
        self._read = cache(read_translations)

    def get_translations(self) -> NullTranslations:
        """Return the translations of the current language; source texts are in English."""
        locale = get_locale()
        return self._read(self._folder, locale.language) if locale is not None else NullTranslations()

    def count_forms(self, one: str, many: str, number: int) -> str:
        """Return the form of a text for a number."""
        return str(self.get_translations().ungettext(one, many, number))

    def path(self, language: str) -> Path:
        """Return the path of a language's catalog, whether it exists or not."""
        return catalog_path(self._folder, language)

    def script_words(self, language: str) -> dict[str, Any]:
        """Return the translations of scripts' texts, by the English text: a text, or a list of its plural forms.

        The key of a text with a context joins both, as in gettext.
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
