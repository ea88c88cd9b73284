"""One row for every file, and what CSV, JSON and the screen make of it."""

import csv
import json
import re
import stat
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from cli.client.answers import Row
from cli.client.images import LocalFile, Unreadable
from cli.client.results import account, check_output, write_results
from cli.client.results_table import show
from cli.client.upload import Span
from cli.errors import CommandFailed
from cli.report import DISCLAIMER
from shared.columns import RESULT_COLUMNS, Result
from tests.conftest import ROOT


def local(name: str, *, is_zip: bool = False) -> LocalFile:
    return LocalFile(Path(name), name, 4, is_zip, 0)


def row(position: int, file: str, status: str = "DONE") -> Row:
    if status != "DONE":
        return Row(file_name=file, position=position, state=status, error="No.")
    return Row(
        file_name=file, position=position, state=status, label="NORMAL", confidence=0.9, p_pneumonia=0.1, model="m"
    )


def spans(*items: tuple[LocalFile, int, int]) -> dict[str, Span]:
    return {file.name: Span(file, start, count) for file, start, count in items}


def test_the_columns_are_those_of_http_md_in_its_order() -> None:
    table = (ROOT / "docs" / "http.md").read_text().split("### Columns of results", 1)[1].split("\n\n")[2]
    first_cells = [line.split("|")[1] for line in table.splitlines()[2:]]
    assert tuple(re.findall(r"`(\w+)`", " ".join(first_cells))) == RESULT_COLUMNS


def test_files_zips_and_what_was_not_sent_keep_their_order() -> None:
    a, z, b = local("x/a.png"), local("x/b.zip", is_zip=True), local("x/c.png")
    gone, lost = Unreadable("x/aa.png", "gone"), local("x/lost.png")
    rows = [row(0, "x/a.png"), row(1, "x/b.zip/in/1.png"), row(2, "x/b.zip/in/2.png", "REJECTED"), row(3, "x/c.png")]
    results = account(
        [a, gone, z, lost, b],
        spans((a, 0, 1), (z, 1, 2), (b, 3, 1)),
        {"x/lost.png": Unreadable("x/lost.png", "413")},
        rows,
    )
    assert [(r.file_name, r.state, r.error) for r in results] == [
        ("x/a.png", "DONE", None),
        ("x/aa.png", "REJECTED", "gone"),
        ("x/b.zip/in/1.png", "DONE", None),
        ("x/b.zip/in/2.png", "REJECTED", "No."),
        ("x/lost.png", "REJECTED", "413"),
        ("x/c.png", "DONE", None),
    ]


def test_a_zip_refused_as_a_whole_has_its_own_name() -> None:
    z = local("bad.zip", is_zip=True)
    assert [r.file_name for r in account([z], spans((z, 0, 1)), {}, [row(0, "bad.zip", "REJECTED")])] == ["bad.zip"]


def test_a_file_without_a_row_is_not_forgotten() -> None:
    a = local("a.png")
    (result,) = account([a], spans((a, 0, 1)), {}, [])
    assert (result.file_name, result.state) == ("a.png", "FAILED")
    assert result.error


def test_rows_that_fit_no_file_keep_the_servers_names() -> None:
    a, gone = local("a.png"), Unreadable("gone.png", "gone")
    rows = [row(0, "old.png"), row(1, "a.png")]
    results = account([a, gone], spans((a, 0, 1)), {}, rows)
    assert [r.file_name for r in results] == ["gone.png", "old.png", "a.png"]


def test_a_name_that_comes_twice_is_numbered() -> None:
    rows = [row(0, "a.png"), row(1, "a.png"), row(2, "a.png (2)"), row(3, "a.png")]
    files = [r.file_name for r in account([], {}, {}, rows)]
    assert files == ["a.png", "a.png (2)", "a.png (2) (2)", "a.png (3)"]


def test_csv_and_json_hold_every_row(tmp_path: Path) -> None:
    results = [
        Result(file_name='ü, "x".png', state="DONE", label="PNEUMONIA", confidence=0.75, p_pneumonia=0.75, model="m@1"),
        Result(file_name="b", state="REJECTED", error="No."),
    ]
    write_results(results, tmp_path / "r.csv")
    write_results(results, tmp_path / "r.json")
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        list(RESULT_COLUMNS),
        ['ü, "x".png', "DONE", "PNEUMONIA", "0.75", "0.75", "m@1", *[""] * 19],
        ["b", "REJECTED", "", "", "", "", "No.", *[""] * 18],
    ]
    objects = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert [list(item) for item in objects] == [list(RESULT_COLUMNS)] * 2
    assert objects[1] == dict(zip(RESULT_COLUMNS, ["b", "REJECTED", *[None] * 4, "No.", *[None] * 18], strict=True))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_formula_in_a_name_is_text_in_csv_only(tmp_path: Path, start: str) -> None:
    name = f'{start}HYPERLINK("x").png'
    write_results([Result(file_name=name, state="DONE")], tmp_path / "r.csv")
    write_results([Result(file_name=name, state="DONE")], tmp_path / "r.json")
    with (tmp_path / "r.csv").open(newline="") as file:
        assert [line["file_name"] for line in csv.DictReader(file)] == [f"'{name}"]
    assert json.loads((tmp_path / "r.json").read_text())[0]["file_name"] == name


def test_a_results_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("old")
    write_results([Result(file_name="a", state="DONE")], tmp_path / "r.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]
    (tmp_path / "plain").touch()
    assert stat.S_IMODE((tmp_path / "r.csv").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("name", ["r.txt", "r", "missing/r.csv"])
def test_a_results_file_that_cannot_be_written_is_refused_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(CommandFailed, match="--output"):
        check_output(tmp_path / name)


def printed(results: list[Result]) -> str:
    console = Console(file=StringIO(), width=200)
    show(results, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_few_rows_are_all_printed() -> None:
    text = printed(
        [
            Result(file_name="[red]a[/red]\x1b[2J.png", state="DONE", label="PNEUMONIA", p_pneumonia=0.97, model="m@1"),
            Result(file_name="b", state="FAILED", error="Lost."),
        ]
    )
    assert "[red]a[/red]\N{REPLACEMENT CHARACTER}[2J.png" in text
    assert "Lost." in text
    assert "2 files: 1 PNEUMONIA, 0 NORMAL, 1 FAILED. Model: m@1." in text
    assert DISCLAIMER in text


def test_many_rows_are_summed_up_with_every_error() -> None:
    results = [
        Result(file_name=f"image-{n:03}.png", state="DONE", label="NORMAL", p_pneumonia=n / 100, model="m@1")
        for n in range(50)
    ]
    results += [Result(file_name=f"bad-{n:03}.png", state="REJECTED", error="Empty.") for n in range(45)]
    text = printed(results)
    assert [n for n in range(50) if f"image-{n:03}.png" in text] == list(range(30, 50))
    assert text.index("image-049") < text.index("image-030")
    assert sum(f"bad-{n:03}.png" in text for n in range(45)) == 45
    assert "95 files: 0 PNEUMONIA, 50 NORMAL, 45 REJECTED." in text
