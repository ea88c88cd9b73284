"""Render a model's card as HTML: Markdown in which HTML and images are disabled."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup

from shared.models.metrics import CARD_FILE

_TABLE: Final = '<div class="frame-x" tabindex="0" role="region" aria-label="Table"><table class="plain-table figures">'


class _Renderer(RendererHTML):
    def table_open(self, _tokens: Sequence[Token], _place: int, _options: OptionsDict, _env: EnvType) -> str:
        """Let a wide table scroll within itself, also by keyboard."""
        return _TABLE

    def table_close(self, _tokens: Sequence[Token], _place: int, _options: OptionsDict, _env: EnvType) -> str:
        """Close what `table_open` opened."""
        return "</table></div>"


# A card may come with a third party's model: HTML in it is shown as text, and nothing is fetched for it.
_MARKDOWN: Final = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable("table").disable("image")


def render_card(folder: Path) -> Markup | None:
    """Return a model folder's card without its first heading, which the page has; None where there is none."""
    path = folder / CARD_FILE
    if not path.is_file():
        return None
    tokens = _MARKDOWN.parse(path.read_text(encoding="utf-8"))
    if tokens and tokens[0].type == "heading_open" and tokens[0].tag == "h1":
        del tokens[:3]
    for token in tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(6, int(token.tag[1]) + 1)}"
    env: dict[str, Any] = {}
    return Markup(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, env))  # noqa: S704  # Markdown's own escaping
