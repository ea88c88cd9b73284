"""The languages of the pages, and how a request's language is chosen."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from babel import Locale
from flask import Flask, g, has_request_context, request
from flask_babel import Babel, get_locale

from shared.languages.catalogs import TRANSLATIONS, check_catalogs
from shared.languages.languages import ENGLISH, LANGUAGES, Language
from web.http.static_files import Made
from web.languages.catalogs import Catalogs
from web.languages.text import N_, gettext, pgettext, plural, say, translate


def install(app: Flask, translations: Path = TRANSLATIONS) -> Mapping[str, Made]:
    """Answer each request in its language, and give templates the translation functions.

    Return the translation files that scripts fetch, one for each language but English. Raises CatalogMissing where a
    language has no catalog.
    """
    check_catalogs(translations)
    babel = Babel(app, configure_jinja=False, default_locale=ENGLISH, locale_selector=choose_language)
    catalogs = Catalogs(translations)
    babel.domain_instance = catalogs
    environment = app.jinja_env
    environment.add_extension("jinja2.ext.i18n")
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_gettext_callables(  # type: ignore[attr-defined]  # of the extension
        gettext, catalogs.count_forms, newstyle=True, pgettext=pgettext
    )
    environment.globals.update(plural=plural, N_=N_, _=environment.globals["gettext"], translate=translate, say=say)
    made = {
        words_file(code): Made(catalogs.path(code), partial(_write_words, catalogs, code))
        for code in LANGUAGES
        if code != ENGLISH
    }
    app.context_processor(lambda: _variables(made))
    return made


def words_file(code: str) -> str:
    """Return the path, below /static, of scripts' translations into a language."""
    return f"words/{code}.json"


def _write_words(catalogs: Catalogs, code: str) -> bytes:
    return json.dumps(catalogs.script_words(code), ensure_ascii=False).encode()


def _variables(made: Mapping[str, Made]) -> dict[str, Any]:
    file = words_file(current_code())
    return {"language": current_language(), "words_file": file if file in made else None}


def choose_language() -> str:
    """Return the code of the language to answer in: the account's, else the browser's first that is available.

    Programs are answered in English.
    """
    if not has_request_context() or g.get("by_token"):
        return ENGLISH
    user: Any = g.get("user")
    if user is not None and user.language in LANGUAGES:
        return str(user.language)
    # Not `best_match`, which prefers English, requested last, over Mexican Spanish, requested first.
    wanted = (tag.partition("-")[0].lower() for tag in request.accept_languages.values())
    return next((code for code in wanted if code in LANGUAGES), ENGLISH)


def current_code() -> str:
    """Return the code of the current language, a key of LANGUAGES."""
    locale: Locale | None = get_locale()
    return locale.language if locale is not None else ENGLISH


def current_language() -> Language:
    """Return the current language."""
    return LANGUAGES[current_code()]
