"""Collect the texts of the pages into the catalogs of every language: `make translations`.

A text that is new stands untranslated in each catalog, one that is gone is removed. Nothing is guessed from similar
texts, which would put a wrong sentence on a page.
"""

import subprocess
import sys
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po

from web.languages.languages import ENGLISH, LANGUAGES, TRANSLATIONS

REPOSITORY: Final = Path(__file__).parents[2]
KEYWORDS: Final = ("_", "N_", "lazy", "plural:2,3", "translate")
"""The functions of `text.py`; `plural` has the number first."""


def collect_texts() -> Catalog:
    """Return the texts of templates, Python and scripts, as pyproject.toml says where they are."""
    keywords = [part for keyword in KEYWORDS for part in ("-k", keyword)]
    command = [sys.executable, "-m", "babel.messages.frontend", "-q", "extract", "-F", "pyproject.toml", *keywords, "-o", "-", "."]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE)  # noqa: S603  # our own arguments
    return read_po(done.stdout.decode().splitlines(keepends=True))


def catalog_path(language: str) -> Path:
    """Return where the catalog of a language is."""
    return TRANSLATIONS / language / "LC_MESSAGES" / "messages.po"


def update(language: str, texts: Catalog) -> int:
    """Bring the catalog of a language to the texts of today; return how many of them it lacks."""
    path = catalog_path(language)
    catalog = Catalog(locale=language, project="PneumoScreen", fuzzy=False)
    if path.is_file():
        with path.open("rb") as file:
            catalog = read_po(file, locale=language)
    catalog.update(texts, no_fuzzy_matching=True, update_creation_date=False)
    catalog.obsolete.clear()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        # Line numbers would change every catalog with every change of a template.
        write_po(file, catalog, width=120, sort_by_file=True, omit_header=False, include_lineno=False)
    return sum(1 for message in catalog if message.id and not _is_translated(message.string))


def _is_translated(text: str | tuple[str, ...]) -> bool:
    return all(text) if isinstance(text, tuple) else bool(text)


def main() -> None:
    """Update every catalog and say what is missing."""
    texts = collect_texts()
    for language in LANGUAGES:
        if language != ENGLISH:
            print(f"{language}: {len(texts)} texts, {update(language, texts)} not translated yet")


if __name__ == "__main__":
    main()
