"""Turn the code of a refusal and its parameters into text in the reader's language."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shared.refusals.codes import CASE, Scalar
from shared.refusals.texts import REFUSALS, TELL_SUPPORT, TERMS, UNKNOWN


@dataclass(frozen=True)
class Explanation:
    """The text of a refusal for people."""

    name: str
    sentence: str
    action: str

    @property
    def text(self) -> str:
        """Return what is wrong and what to do, as one text."""
        return f"{self.sentence} {self.action}"


def explain(
    code: str, details: Mapping[str, Scalar] | None = None, translate: Callable[[str], str] = str
) -> Explanation:
    """Turn a code and its parameters into text, in English or in the language of `translate`.

    Rows outlive versions: an unknown code, or parameters that do not fit its sentences, get a general sentence. Every
    text comes from `every_text`.
    """
    refusal = REFUSALS.get(code)
    if refusal is None:
        return Explanation(code, translate(UNKNOWN).format(code=code), translate(TELL_SUPPORT))
    given = details or {}
    case = refusal.cases.get(str(given.get(CASE, "")))
    sentence = _fill(case.sentence, given, translate) if case else None
    if case is None or sentence is None:
        return Explanation(*map(translate, (refusal.name, refusal.sentence, refusal.action)))
    return Explanation(translate(refusal.name), sentence, translate(case.action or refusal.action))


def _fill(template: str, details: Mapping[str, Scalar], translate: Callable[[str], str]) -> str | None:
    words = {
        name: translate(TERMS[name][str(value)]) if str(value) in TERMS.get(name, ()) else value
        for name, value in details.items()
    }
    try:
        return translate(template).format_map(words)
    except (KeyError, ValueError, TypeError):
        return None
