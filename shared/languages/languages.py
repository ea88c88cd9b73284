"""The languages that an account can choose; source texts are in English."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Language:
    """A language that an account can choose."""

    tag: str
    """For the attribute `lang` (BCP 47), with the script or country that the translation is written for."""
    own_name: str
    is_right_to_left: bool = False


ENGLISH: Final = "en"
LANGUAGES: Final[dict[str, Language]] = {
    ENGLISH: Language("en", "English"),
    "es": Language("es", "Español"),
    "fr": Language("fr", "Français"),
    "pt": Language("pt-BR", "Português"),
    "hi": Language("hi", "हिन्दी"),
    "zh": Language("zh-Hans", "简体中文"),
    "ar": Language("ar", "العربية", is_right_to_left=True),
}
