"""Every catalog is whole: each text of today in each of its forms, with the parameters and marks of the English."""

import ast
import re
import string
from collections.abc import Iterator
from functools import cache

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po

from shared.languages.catalogs import TRANSLATIONS, catalog_path
from shared.languages.languages import ENGLISH, LANGUAGES
from web.languages.collect import KEYWORDS, REPOSITORY, collect_texts, is_translated

TRANSLATED = [code for code in LANGUAGES if code != ENGLISH]
_texts = cache(collect_texts)


@cache
def read(language: str) -> Catalog:
    with catalog_path(TRANSLATIONS, language).open("rb") as file:
        return read_po(file, locale=language, abort_invalid=True)


def messages(language: str) -> list[Message]:
    return [message for message in read(language) if message.id]


def forms(text: str | list[str] | tuple[str, ...] | None) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text or ())


def parameters(text: str) -> set[str]:
    named = set(re.findall(r"%\((\w+)\)s", text))
    try:
        return named | {name for _, name, _, _ in string.Formatter().parse(text) if name}
    except ValueError:  # a lone brace, which no parameter has
        return named


def marks(text: str) -> list[str]:
    return sorted(re.findall(r"</?[a-z][^>]*>|&\w+;", text))


def marked_within_f_strings(source: str) -> Iterator[int]:
    """Yield the lines of texts that are marked for translation within an f-string."""
    keywords = {keyword.partition(":")[0] for keyword in KEYWORDS}
    for outer in ast.walk(ast.parse(source)):
        calls = (
            [node for node in ast.walk(outer) if isinstance(node, ast.Call)] if isinstance(outer, ast.JoinedStr) else []
        )
        yield from (call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id in keywords)


def test_no_text_is_marked_within_an_f_string() -> None:
    """Babel sees none there on Python 3.11, so that it would be translated on some machines and not on others."""
    assert list(marked_within_f_strings("said = f'{_(\"Try again.\")} {number}'")) == [1]
    sources = [path for top in ("shared", "web") for path in (REPOSITORY / top).rglob("*.py")]
    found = {path.relative_to(REPOSITORY): list(marked_within_f_strings(path.read_text())) for path in sources}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_catalog_has_the_texts_of_today_and_no_others(language: str) -> None:
    """Run `make translations` and translate what is new."""
    today = {(message.context, message.id) for message in _texts() if message.id}
    assert {(message.context, message.id) for message in messages(language)} == today


def test_a_text_with_a_context_stands_nowhere_without_one() -> None:
    """Else a place was forgotten when one text turned out to stand for several things."""
    contexts: dict[str, set[str | None]] = {}
    for message in _texts():
        contexts.setdefault(forms(message.id)[0], set()).add(message.context)
    assert [text for text, found in contexts.items() if None in found and len(found) > 1] == []


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_text_is_translated(language: str) -> None:
    missing = [message.id for message in messages(language) if message.fuzzy or not is_translated(message)]
    assert missing == []


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_plural_has_every_form_of_its_language(language: str) -> None:
    number = read(language).num_plurals
    wrong = [
        message.id for message in messages(language) if message.pluralizable and len(forms(message.string)) != number
    ]
    assert wrong == []


@pytest.mark.parametrize("language", TRANSLATED)
def test_parameters_are_those_of_the_english(language: str) -> None:
    wrong = []
    for message in messages(language):
        known = set().union(*map(parameters, forms(message.id)))
        for text in forms(message.string):
            # A form for one or two may write the number as a word.
            may_lack = {"count"} if message.pluralizable else set()
            if not known - may_lack <= parameters(text) <= known:
                wrong.append((message.id, text))
    assert wrong == []


@pytest.mark.parametrize("language", TRANSLATED)
def test_marks_are_those_of_the_english(language: str) -> None:
    """A translation is trusted as HTML, so it brings none of its own."""
    wrong = [
        (message.id, text)
        for message in messages(language)
        for text in forms(message.string)
        if marks(text) not in [marks(english) for english in forms(message.id)]
    ]
    assert wrong == []


@pytest.mark.parametrize("language", TRANSLATED)
def test_percent_signs_are_written_as_in_the_english(language: str) -> None:
    """Python and Jinja fill texts by `%`, so a lone one would break the page."""

    def lone(text: str) -> bool:
        return "%" in re.sub(r"%\(\w+\)s|%%", "", text)

    wrong = [
        (message.id, text)
        for message in messages(language)
        for text in forms(message.string)
        if lone(text) and not any(map(lone, forms(message.id)))
    ]
    assert wrong == []
