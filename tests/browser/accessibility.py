"""What is wrong with a page for one of its readers: contrast, names, sizes, sideways scrolling (check_access.js)."""

from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Page

CHECK = (Path(__file__).parent / "check_access.js").read_text()


def problems_of(page: Page) -> list[str]:
    """Say what is wrong with the page as it stands, once it has loaded whole."""
    page.wait_for_load_state()
    return page.evaluate(CHECK)


def check(page: Page, address: str, is_open: bool = False) -> Iterator[str]:
    """Look at one page in light and dark, from desk to phone width; one that is open stays as it is."""
    if not is_open:
        page.goto(address)
    for width in (1440, 1030, 820, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # a literal
            yield from (f"{address}, {scheme}, {width} px: {problem}" for problem in problems_of(page))
