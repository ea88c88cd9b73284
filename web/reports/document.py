"""A4 PDF documents with what every report needs: "no diagnosis" notice, page numbers, and text in any script."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fpdf import FPDF
from fpdf.enums import MethodReturnValue, WrapMode
from fpdf.fonts import TTFFont

from web.languages.languages import current_language
from web.languages.text import N_, _, translate
from web.reports import letters

LINE: Final = 5.0
"""Height of a line in mm."""
SMALL: Final = 8.0
_TEXT: Final = 9.5
_MARGIN: Final = 16.0
_FOOT: Final = 18.0
_INK, _SOFT, _RULE, _SHADE = 0, 85, 170, 242
_FAMILY: Final = "report"
_NOT_A_DIAGNOSIS: Final = N_("Decision support, not a diagnosis. A qualified reader must read every X-ray.")
_GAP: Final = 4.0
"""Gap in mm between a column of numbers and adjacent text."""
_LONGEST: Final = 160
"""The most characters of a cell; longer texts are shortened in the middle."""


@dataclass(frozen=True)
class Column:
    """One column of a table: its title, in English, and its width in mm."""

    title: str
    width: float
    is_number: bool = False
    is_name: bool = False
    """File names have no words to break between."""

    @property
    def text_width(self) -> float:
        """Return the width of texts in mm."""
        return self.width - _GAP if self.is_number else self.width

    @property
    def wrapmode(self) -> WrapMode:
        """Return where a long text may break."""
        return WrapMode.CHAR if self.is_name else WrapMode.WORD


class Document(FPDF):
    """One report, in the language of the pages.

    Texts may contain anything: characters missing from all fonts are written as numbers (`letters.printable`). In
    right-to-left languages lines and tables start at the right; pictures and scales are not mirrored.
    """

    def __init__(self, title: str, printed: str) -> None:
        super().__init__(format="A4")
        self._printed = printed
        self._language = current_language()
        self._fallbacks: set[str] = set()
        self.set_margins(_MARGIN, _MARGIN)
        self.set_auto_page_break(True, _FOOT)
        self.add_font(_FAMILY, "", letters.FONTS / letters.PLAIN)
        self.add_font(_FAMILY, "B", letters.FONTS / letters.BOLD)
        self.set_text_shaping(True)
        self.set_title(letters.printable(title))
        self.set_creator("PneumoScreen")
        self.set_lang(self._language.tag)
        self.alias_nb_pages("")  # a text may contain the default placeholder of their number
        self._write_in(_TEXT)
        self.add_page()

    def finish(self) -> bytes:
        """Finish and return the PDF."""
        self._write_feet()
        try:
            return bytes(self.output())
        finally:
            for font in self.fonts.values():
                if isinstance(font, TTFFont):
                    font.close()

    def header(self) -> None:
        """Write the header of every page."""
        shaping = self.text_shaping
        self._write_in(SMALL, soft=True)
        self._ends("PneumoScreen", self._shown(translate(_NOT_A_DIAGNOSIS)), self.epw / 5)
        self.ln(LINE)
        self.text_shaping = shaping
        self._rule()
        self.ln(2)
        self._write_in(_TEXT)

    def heading(self, text: str, size: float = 12.0) -> None:
        """Write a heading, keeping room for some lines below it on the same page."""
        if self.will_page_break(4 * LINE):
            self.add_page()
        self.ln(2)
        self._write_in(size, bold=True)
        self._lines(text, size / 2)
        self.ln(1)
        self._write_in(_TEXT)

    def paragraph(self, text: str, *, bold: bool = False, soft: bool = False, size: float = _TEXT) -> None:
        """Write a text over the full width, keeping its line breaks."""
        self._write_in(size, bold=bold, soft=soft)
        for part in text.expandtabs(4).splitlines() or [""]:
            self._lines(part, max(LINE, size / 2))
        self._write_in(_TEXT)

    def facts(self, rows: Sequence[tuple[str, str]], name_width: float = 34.0) -> None:
        """Write names and values below each other, from the left margin."""
        widest = max((self.get_string_width(self._shown(name)) for name, _value in rows), default=0.0)
        name_width = min(max(name_width, widest + 3 * self.c_margin), self.epw / 2)
        value_width = self.epw - name_width
        name_left, value_left = (value_width, 0.0) if self._is_right_to_left else (0.0, name_width)
        for name, value in rows:
            if self.will_page_break(LINE):
                self.add_page()
            self._write_in(_TEXT, soft=True)
            self.set_x(self.l_margin + name_left)
            self.cell(name_width, LINE, self._shown(name), align=self._start)
            self._write_in(_TEXT)
            self.set_x(self.l_margin + value_left)
            self.multi_cell(value_width, LINE, self._shown(value), align=self._start, new_x="LMARGIN", new_y="NEXT")

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:  # type: ignore[override]  # ours keeps rows whole, in any script
        """Write a table with its head repeated on each page; no row is split."""
        self._head(columns)
        for number, row in enumerate(rows):
            cells = [self._shown(letters.shorten(cell, _LONGEST)) for cell in row]
            lines = [self._count_lines(column, cell) for column, cell in zip(columns, cells, strict=True)]
            height = LINE * max(lines)
            if self.will_page_break(height):
                self.add_page()
                self._head(columns)
            self._row(columns, cells, height, is_shaded=number % 2 == 1)
        self.ln(1)

    def scale(self, value: float, threshold: float, width: float) -> None:
        """Draw a line from 0 to 1 with a tick at the threshold and a mark at the value."""
        left, top = self.get_x() + (self.epw - width if self._is_right_to_left else 0), self.get_y() + 2.5
        self.set_draw_color(_RULE)
        self.set_line_width(1.2)
        self.line(left, top, left + width, top)
        self.set_draw_color(_INK)
        self.set_line_width(0.5)
        self.line(left + threshold * width, top - 2, left + threshold * width, top + 2)
        self.set_fill_color(_INK)
        self.circle(left + value * width, top, 1.4, style="F")
        self.set_line_width(0.2)
        self.set_y(top + 4)

    def empty_frame(self, width: float, height: float, text: str) -> None:
        """Draw the frame of a missing picture, with the reason inside."""
        left, top = self.get_x(), self.get_y()
        self.set_draw_color(_RULE)
        self.rect(left, top, width, height)
        self._write_in(_TEXT, soft=True)
        self.set_xy(left + 4, top + height / 2 - LINE)
        self.multi_cell(width - 8, LINE, self._shown(text), align="C")
        self._write_in(_TEXT)

    @property
    def _is_right_to_left(self) -> bool:
        return self._language.is_right_to_left

    @property
    def _start(self) -> str:
        """Return the side where lines begin."""
        return "R" if self._is_right_to_left else "L"

    @property
    def _end(self) -> str:
        return "L" if self._is_right_to_left else "R"

    def _ends(self, first: str, last: str, first_width: float) -> None:
        """Write one text at the beginning of a line, in `first_width` mm, and one at its end."""
        left, last_width = self.l_margin, self.epw - first_width
        for text, offset, width, align in (
            (first, last_width if self._is_right_to_left else 0, first_width, self._start),
            (last, 0 if self._is_right_to_left else first_width, last_width, self._end),
        ):
            self._shape(text)
            self.set_x(left + offset)
            self.cell(width, LINE, text, align=align)

    def _write_feet(self) -> None:
        """Write each page's footer, with printer, time and page number, once the number of pages is known.

        A placeholder (`alias_nb_pages`) would leave a gap of its own width, or overlap what follows.
        """
        self.set_auto_page_break(False)
        for number in range(1, self.pages_count + 1):
            self.page = number
            self.set_y(-_FOOT + 4)
            self._write_in(SMALL, soft=True)
            pages = _("Page %(page)s of %(pages)s", page=number, pages=self.pages_count)
            self._ends(self._shown(self._printed), pages, self.epw * 3 / 4)

    def _head(self, columns: Sequence[Column]) -> None:
        self._write_in(SMALL, soft=True)
        titles = [Column(column.title, column.width, column.is_number) for column in columns]
        shown = [self._shown(translate(column.title)) for column in columns]
        lines = [self._count_lines(column, text) for column, text in zip(titles, shown, strict=True)]
        self._row(titles, shown, LINE * max(lines), is_shaded=False)
        self._rule()
        self._write_in(_TEXT)

    def _row(self, columns: Sequence[Column], cells: Sequence[str], height: float, *, is_shaded: bool) -> None:
        left, top = self.get_x(), self.get_y()
        if is_shaded:
            self.set_fill_color(_SHADE)
            self.rect(left, top, sum(column.width for column in columns), height, style="F")
        ordered = list(zip(columns, cells, strict=True))
        for column, cell in reversed(ordered) if self._is_right_to_left else ordered:
            align = self._end if column.is_number else self._start
            gap = column.width - column.text_width if self._is_right_to_left else 0
            self.set_xy(left + gap, top)
            self._shape(cell)
            self.multi_cell(column.text_width, LINE, cell, align=align, wrapmode=column.wrapmode)
            left += column.width
        self.set_xy(self.l_margin, top + height)

    def _count_lines(self, column: Column, text: str) -> int:
        self._shape(text)
        if self.get_string_width(text) < column.text_width - 2 * self.c_margin:  # much faster than laying it out
            return 1
        lines = self.multi_cell(
            column.text_width, LINE, text, wrapmode=column.wrapmode, dry_run=True, output=MethodReturnValue.LINES
        )
        return len(lines) if isinstance(lines, list) else 1

    def _lines(self, text: str, height: float) -> None:
        shown = self._shown(text)
        self.multi_cell(0, height, shown, align=self._start, new_x="LMARGIN", new_y="NEXT")

    def _shown(self, text: str) -> str:
        """Return a text in printable form, and load the fonts that it needs."""
        shown = letters.printable(text)
        missing = letters.fallbacks_of(shown) - self._fallbacks
        for name in missing:
            self.add_font(name, "", letters.FONTS / name)
        if missing:
            self._fallbacks |= missing
            self.set_fallback_fonts([name for name in letters.FALLBACKS if name in self._fallbacks], exact_match=False)
        self._shape(shown)
        return shown

    def _shape(self, text: str) -> None:
        """Enable text shaping only for texts that need it: it takes three quarters of the time."""
        is_turned = self._is_right_to_left and letters.has_right_to_left(text)
        self.set_text_shaping(not text.isascii(), direction="rtl" if is_turned else None)

    def _write_in(self, size: float, *, bold: bool = False, soft: bool = False) -> None:
        self.set_font(_FAMILY, "B" if bold else "", size)
        if self.page and self.current_font is not None:
            # Else fpdf2 2.8.9 selects it only within the next text, if that begins with a fallback font.
            self._out(self._set_font_for_page(self.current_font, self.font_size_pt))
        self.set_text_color(_SOFT if soft else _INK)

    def _rule(self) -> None:
        self.set_draw_color(_RULE)
        self.line(self.l_margin, self.get_y(), self.l_margin + self.epw, self.get_y())
