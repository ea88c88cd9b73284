"""HTML of a self-contained page: every text escaped, every image embedded."""

import base64
import html
import io
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

JPEG_QUALITY = 85


def text(words: object) -> str:
    """Escape text for HTML; unprintable characters (control characters, undecodable bytes of a name) become U+FFFD."""
    return html.escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(words)))


def data_uri(content: bytes, media_type: str) -> str:
    """Return an image as a data URI."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def image_uri(pixels: np.ndarray) -> str:
    """Return an image, uint8 (size, size, 1), as the data URI of a JPEG."""
    out = io.BytesIO()
    Image.fromarray(pixels[..., 0]).save(out, "JPEG", quality=JPEG_QUALITY)
    return data_uri(out.getvalue(), "image/jpeg")


def section(identifier: str, title: str, *parts: str) -> str:
    """Return a section with its heading; `parts` are HTML."""
    return f'<section id="{identifier}">\n<h2>{text(title)}</h2>\n' + "\n".join(filter(None, parts)) + "\n</section>"


def paragraph(words: object, kind: str = "") -> str:
    """Return an escaped paragraph."""
    return f'<p class="{kind}">{text(words)}</p>' if kind else f"<p>{text(words)}</p>"


def table(
    headings: Sequence[str], rows: Iterable[Sequence[object]], *, marked: int | None = None, kind: str = ""
) -> str:
    """Return a table whose first column names the row; the row at index `marked` is highlighted."""
    head = "".join(f'<th scope="col">{text(heading)}</th>' for heading in headings)
    body = "\n".join(_row(row, is_marked=place == marked) for place, row in enumerate(rows))
    return (
        f'<div class="scroll" tabindex="0"><table class="{kind}"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(cells: Sequence[object], *, is_marked: bool) -> str:
    first, *rest = cells
    own = ' class="own"' if is_marked else ""
    return f'<tr{own}><th scope="row">{text(first)}</th>' + "".join(f"<td>{text(cell)}</td>" for cell in rest) + "</tr>"


def terms(rows: Iterable[tuple[str, object]]) -> str:
    """Return a list of terms and their values."""
    return "<dl>" + "".join(f"<div><dt>{text(term)}</dt><dd>{text(words)}</dd></div>" for term, words in rows) + "</dl>"


def plot(light: bytes, dark: bytes, described: str, caption: str, *, is_wide: bool = False) -> str:
    """Return an SVG plot that follows the reader's light or dark mode and prints light."""
    return (
        f'<figure class="plot{" wide" if is_wide else ""}"><picture>'
        f'<source media="screen and (prefers-color-scheme: dark)" srcset="{data_uri(dark, "image/svg+xml")}">'
        f'<img src="{data_uri(light, "image/svg+xml")}" alt="{text(described)}"></picture>'
        f"<figcaption>{text(caption)}</figcaption></figure>"
    )
