"""Extract the texts of the pages into the catalogs of every language: `make translations`.

A new text is left untranslated in each catalog, a text no longer used is removed. There is no fuzzy matching, which
would put a wrong sentence on a page.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from babel import Locale
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po, write_po

from shared.languages.catalogs import TRANSLATIONS, catalog_path
from shared.languages.languages import ENGLISH, LANGUAGES
from shared.refusals.texts import every_text

REPOSITORY: Final = Path(__file__).parents[2]
KEYWORDS: Final = (
    *("_", "N_", "NC_:1c,2", "lazy", "plural:2,3", "translate"),
    *("AccountRefused", "ActivationRefused", "DatabaseBusy", "DecoderAway", "DiskLow", "EmptySubmission", "JobClosed"),
    *("JobUnfinished", "KeyReused", "ModelUnavailable", "NothingToWithdraw", "NotReviewable", "QueueFull"),
    *("ReviewOutdated", "StoreAway", "StoreFull", "TranslatableError", "UnknownModel", "WebhookRefused"),
)
"""The functions of `text.py` (`plural` has the number first; Babel knows `pgettext`), and errors that pages show."""


def collect_texts() -> Catalog:
    """Extract the texts of templates, Python and scripts from the places listed in pyproject.toml."""
    keywords = [part for keyword in KEYWORDS for part in ("-k", keyword)]
    with tempfile.NamedTemporaryFile(suffix=".pot") as file:
        options = ["-q", "extract", "-F", "pyproject.toml", "-c", "Translators:", *keywords, "-o", file.name, "."]
        command = [sys.executable, "-m", "babel.messages.frontend", *options]
        subprocess.run(command, cwd=REPOSITORY, check=True)  # noqa: S603  # our own arguments
        return read_po(file)


def extract_refusals(
    _file: object,
    keywords: object,  # noqa: ARG001  # as Babel calls it
    comment_tags: object,  # noqa: ARG001
    options: object,  # noqa: ARG001
) -> Iterator[tuple[int, str, str, list[str]]]:
    """Extract the texts of `shared.refusals`, which are in one table; pyproject.toml registers this with Babel."""
    for text in every_text():
        yield 1, "_", text, []


def update(language: str, texts: Catalog) -> int:
    """Update a language's catalog to the current texts; return how many translations it lacks."""
    path = catalog_path(TRANSLATIONS, language)
    catalog = Catalog(locale=language, fuzzy=False)
    if path.is_file():
        with path.open("rb") as file:
            catalog = read_po(file, locale=language)
    catalog.header_comment = f"# The texts of the pages in {Locale.parse(language).english_name}."
    catalog.project, catalog.version, catalog.last_translator = "PneumoScreen", "0.1", "-"
    catalog.msgid_bugs_address, catalog.language_team = "-", language
    catalog.update(texts, no_fuzzy_matching=True, update_creation_date=False)
    catalog.obsolete.clear()
    for message in catalog:
        if message.id and message.fuzzy:  # became a plural, or no longer is one
            message.string = ("",) * catalog.num_plurals if message.pluralizable else ""
            message.flags.discard("fuzzy")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        # Line numbers would change every catalog at every change of a template.
        write_po(file, catalog, width=120, sort_by_file=True, omit_header=False, include_lineno=False)
    return sum(1 for message in catalog if message.id and not is_translated(message))


def is_translated(message: Message) -> bool:
    """Tell whether a text is translated, in each of its plural forms."""
    return bool(message.string) and all(message.string or "")


def main() -> None:
    """Update every catalog and print what is missing."""
    texts = collect_texts()
    for language in LANGUAGES:
        if language != ENGLISH:
            sys.stdout.write(f"{language}: {len(texts)} texts, {update(language, texts)} not translated yet\n")


if __name__ == "__main__":
    main()
