"""A made language in which every letter bears an accent: what stands on a page without one was never marked."""

import re
from collections.abc import Iterable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog
from babel.messages.pofile import write_po

from shared.languages.catalogs import TRANSLATIONS
from web.languages.collect import collect_texts

_LETTERS: Final = str.maketrans(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
    "ÅƁÇĐÉƑĜĤÎĴĶĻṀÑÖÞǪŔŠŢÛṼŴẊÝŽåƀçđéƒĝĥîĵķļɱñöþǫŕšţûṽŵẋýž",
)
_KEPT: Final = re.compile(r"%\(\w+\)s|%%|<[^>]*>|&\w+;")
_SAME_EVERYWHERE: Final = frozenset({
    "PneumoScreen", "JPEG", "PNG", "TIFF", "BMP", "WebP", "DICOM", "CR", "DX", "RG", "KiB", "MiB", "GiB", "UTC", "CSV",
    "JSON", "PDF", "API",
})  # fmt: skip
_LENGTH: Final = 0.3
"""How much longer than English a translation may well be: W3C, "Text size in translation", gives 30 % for sentences."""


_collect_once = cache(collect_texts)


def write_catalog(folder: Path, code: str) -> None:
    """Write a catalog of the made language under the code of a real one."""
    catalog = Catalog(locale=code)
    for message in _collect_once():
        if not message.id:
            continue
        texts = message.id if isinstance(message.id, tuple) else (message.id,)
        said = tuple(accent(text) for text in texts)
        forms = (said[0], *(said[-1],) * (catalog.num_plurals - 1)) if len(said) == 2 else said[0]
        catalog.add(message.id, forms, locations=message.locations, flags=message.flags, context=message.context)
    path = folder / code / "LC_MESSAGES" / "messages.po"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        write_po(file, catalog)


def link_others(folder: Path, code: str) -> None:
    """Give a folder of translations the real ones into all languages but one: an application starts with all alone."""
    for other in TRANSLATIONS.iterdir():
        if other.name != code:
            (folder / other.name).symlink_to(other)


def accent(text: str) -> str:
    """Put accents on a text and make it longer, its parameters and marks left as they are."""
    parts = re.split(f"({_KEPT.pattern})", text)
    accented = "".join(part if _KEPT.fullmatch(part) else part.translate(_LETTERS) for part in parts)
    return accented + "·" * int(len(text) * _LENGTH)


def find_untranslated(page: str, names: Iterable[str] = ()) -> list[str]:
    """Return the texts of a page, and what is read aloud of it, that have a word without accents and of no name."""
    reader = _Texts()
    reader.feed(page)
    known = _SAME_EVERYWHERE | _words(" ".join(names))
    return [text for text in reader.texts if _words(text) - known]


def _words(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z]{2,}", text))


_SPOKEN: Final = frozenset({"aria-label", "title", "alt", "placeholder", "data-ended", "data-name"})
_VOID: Final = frozenset(
    {
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "source",
        "wbr",
        "rect",
        "line",
        "stop",
    }
)
_NAMES: Final = frozenset({"bdi", "code", "kbd", "time", "script", "style", "pre", "samp"})


class _Texts(HTMLParser):
    """Collect the texts outside elements that hold names: `bdi`, `code`, `time`, and all with translate="no"."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._open: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        is_name = tag in _NAMES or given.get("translate") == "no" or any(inner for _, inner in self._open)
        if not is_name:
            self.texts += [value for name, value in attrs if name in _SPOKEN - {"data-name"} and value]
            if tag in {"input", "button"} and given.get("type") in {"submit", "button"} and given.get("value"):
                self.texts.append(str(given["value"]))
        if tag not in _VOID:
            self._open.append((tag, is_name))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if data.strip() and not any(is_name for _, is_name in self._open):
            self.texts.append(" ".join(data.split()))
