"""One word a thing: the glossary of docs/architecture.md holds in names, texts, tables, the API and file names."""

import re
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from pydantic import BaseModel

from shared.columns import RESULT_COLUMNS
from shared.tables import Base
from tests.conftest import ROOT
from web.api import schemas

GLOSSARY: Final = "docs/architecture.md"
READ: Final = frozenset({".py", ".md", ".html", ".js", ".css", ".toml", ".yml", ".json", ".mako", ""})
"""Endings of what is read; the lock file names other people's packages."""

ALLOWED: Final = (
    ("migrations/versions/*", ("film", "films"), "tables and codes had this name until migration 0010"),
    ("tests/integration/test_rename_migration.py", ("film", "films"), "what migration 0010 renames"),
    ("docs/decisions.md", ("film", "films"), "the entry of 2026-11-28 says what was renamed"),
    ("training/*", ("patience",), "Keras's argument of EarlyStopping"),
    ("evaluation/card.py", ("patience",), "the same, as a recipe names it"),
    ("models/*/metrics.json", ("patience",), "the same, as a recipe names it"),
    ("tests/model/*", ("patience",), "the same, as a recipe names it"),
)
"""Path, words and why they stand there."""

HAS_STATUS: Final = (schemas.Problem,)
"""RFC 9457 names the keys of a problem."""


def sections() -> Iterator[list[list[str]]]:
    """Return the rows of each table of the glossary."""
    for table in glossary().split("\n\n| ")[1:]:
        rows = table.split("\n\n")[0].strip().splitlines()[2:]
        yield [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def glossary() -> str:
    """Return the section of the document that holds the glossary."""
    return re.search(r"^## Words\n.*?(?=^## |\Z)", (ROOT / GLOSSARY).read_text(), re.MULTILINE | re.DOTALL)[0]


def instead_of(rows: list[list[str]]) -> dict[str, str]:
    """Map each word that is not used to the one that is."""
    return {
        word.strip(" `"): used.strip("`") for used, _, never in rows for word in never.split(",") if word.strip() != "-"
    }


WORDS, KEYS = map(instead_of, sections())


@cache
def forbidden(name: str) -> str | None:
    """Return the word of the glossary's last column that a name holds: `FilmRow`, `hand_back` and `RINGS` hold one."""
    parts = "_".join(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().replace(" ", "_").split("_"))
    return next((word for word in WORDS if f"_{word.replace(' ', '_')}_" in f"_{parts}_"), None)


def tracked() -> list[str]:
    """Return the files of the repository that people wrote."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    own = str(Path(__file__).relative_to(ROOT))
    return [path for path in listed.splitlines() if path != own and (ROOT / path).is_file()]


def texts() -> Iterator[tuple[str, str]]:
    """Return path and text of each file that is read; the glossary may hold its words."""
    for path in tracked():
        if Path(path).suffix in READ:
            text = (ROOT / path).read_text()
            yield path, text.replace(glossary(), "\n" * glossary().count("\n")) if path == GLOSSARY else text


def found_in(text: str) -> set[str]:
    """Return the forbidden words of a text, with those of two words that stand apart in it."""
    names = set(re.findall(r"[A-Za-z_]+", text))
    lower = text.lower()
    pairs = {name for word in WORDS if "_" in word or " " in word for name in [re.sub("[_ ]", " ", word)]}
    return {word for name in names if (word := forbidden(name))} | {
        word for pair in pairs if pair in lower and (word := forbidden(pair))
    }


def line_of(text: str, word: str) -> int:
    """Return the first line that holds a forbidden word."""
    return next((number for number, line in enumerate(text.splitlines(), start=1) if word in found_in(line)), 0)


def is_allowed(path: str, word: str) -> bool:
    """Tell whether the list of exceptions names this word in this file."""
    return any(fnmatch(path, pattern) and word in words for pattern, words, _ in ALLOWED)


def test_no_file_holds_a_word_that_the_glossary_replaces() -> None:
    found = [(path, text, word) for path, text in texts() for word in sorted(found_in(text))]
    wrong = [
        f"{path}:{line_of(text, word)}: '{word}'; write '{WORDS[word]}' ({GLOSSARY}, Words)"
        for path, text, word in found
        if not is_allowed(path, word)
    ]
    unused = [
        f"{pattern}: '{' and '.join(words)}' no longer stands there; remove the exception"
        for pattern, words, _ in ALLOWED
        if not any(fnmatch(path, pattern) and word in words for path, _, word in found)
    ]
    assert wrong + unused == []


def test_no_file_is_named_by_such_a_word() -> None:
    named = [(path, word) for path in tracked() if (word := forbidden(re.sub(r"[^A-Za-z]+", "_", path)))]
    assert [path for path, word in named if not is_allowed(path, word)] == []


def test_columns_and_keys_of_the_api_take_the_same_names() -> None:
    columns = {f"{table.name}.{column.name}" for table in Base.metadata.tables.values() for column in table.columns}
    models = [kind for kind in vars(schemas).values() if isinstance(kind, type) and issubclass(kind, BaseModel)]
    keys = {f"{kind.__name__}.{key}" for kind in models if kind not in HAS_STATUS for key in kind.model_fields}
    keys |= {f"results.{column}" for column in RESULT_COLUMNS}
    assert len(columns) > 50
    assert len(keys) > 50
    wrong = [f"{name}; write '{KEYS[key]}'" for name in columns | keys if (key := name.partition(".")[2]) in KEYS]
    assert wrong == []


def test_no_word_is_used_and_replaced() -> None:
    assert set(WORDS) >= {"verdict", "doorbell"}
    assert "status" in KEYS
    assert [word for words in (WORDS, KEYS) for word in words if word in words.values()] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("FilmRow", {"film"}),
        ("count_films()", {"films"}),
        ("the sweep rang again", {"rang"}),
        ("def hand_back(self)", {"hand_back"}),
        ("Hand back the lease.", {"hand_back"}),
        ("ringing", {"ringing"}),
        ("A string, a wishbone, filmed and pacing", set()),
    ],
)
def test_words_are_found_within_names_and_not_within_others(text: str, words: set[str]) -> None:
    assert found_in(text) == words
