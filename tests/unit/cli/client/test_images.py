"""Which files paths mean, and how they are packed into requests."""

import os
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from cli.client.images import BATCH_BYTES, BATCH_FILES, FIRST_BYTES, FIRST_FILES, LocalFile, Unreadable, collect, pack
from shared.intake.left_out import DISC, SYSTEM


def write(path: Path, data: bytes = b"image") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def names(paths: list[str]) -> list[str]:
    return [item.name for item in collect(paths)]


def local(size: int, name: str = "a.png", *, is_zip: bool = False) -> LocalFile:
    return LocalFile(Path(name), name, size, is_zip, 0)


def test_a_folder_gives_its_files_in_order_without_junk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b.png", "a/2.png", "a/10.png", ".hidden", ".git/x", "__MACOSX/a/._2.png", "Thumbs.db", "a/.DS_Store"):
        write(tmp_path / "images" / name)
    monkeypatch.chdir(tmp_path)
    assert names(["images"]) == ["images/a/2.png", "images/a/10.png", "images/b.png"]


def test_what_a_disc_adds_to_its_images_is_left_out_of_a_folder_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (
        "DICOMDIR",
        "AUTORUN.INF",
        "VIEWER/viewer.exe",
        "VIEWER/index.html",
        "Thumbs.db",
        "IMAGES/IM1",
        "x.txt",
    ):
        write(tmp_path / "disc" / name)
    write(tmp_path / "disc" / "scan.ini").write_bytes(b"\xff\xd8\xff\xe0 an image by its content")
    (tmp_path / "disc" / "readme").mkdir()
    write(tmp_path / "disc" / "readme" / "IM2")
    left_out: Counter[str] = Counter()
    found = [item.name for item in collect(["disc"], left_out)]
    assert found == ["disc/IMAGES/IM1", "disc/readme/IM2", "disc/scan.ini", "disc/x.txt"]
    assert left_out == {DISC: 4, SYSTEM: 1}
    assert names(["disc/V/viewer.exe"]) == ["disc/V/viewer.exe"], "named itself, it is sent"


def test_a_hidden_file_that_is_named_itself_is_kept(tmp_path: Path) -> None:
    assert names([str(write(tmp_path / ".image.png"))]) == [".image.png"]


def test_a_file_that_several_paths_mean_comes_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "images/a.png")
    monkeypatch.chdir(tmp_path)
    assert names(["images/a.png", "images", str(tmp_path / "images"), "images/../images/a.png"]) == ["images/a.png"]


def test_names_begin_at_what_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one/ward/1.png", "two/ward/1.png", "two/ward/2.png"):
        write(tmp_path / name)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert names([str(tmp_path / "one")]) == ["one/ward/1.png"]
    assert names(["../one/ward", "../two/ward/2.png"]) == ["ward/1.png", "2.png"]
    assert names([".."]) == [f"{tmp_path.name}/one/ward/1.png"] + [f"{tmp_path.name}/two/ward/{n}.png" for n in (1, 2)]
    alike = names(["../one/ward", "../two/ward"])
    assert alike == ["../one/ward/1.png", "../two/ward/1.png", "ward/2.png"], "a name stands for one file"
    monkeypatch.chdir(tmp_path)
    assert names(["one", "two/ward/2.png"]) == ["one/ward/1.png", "two/ward/2.png"]
    assert names(["."]) == ["one/ward/1.png", "two/ward/1.png", "two/ward/2.png"]


def test_folders_that_link_to_themselves_end(tmp_path: Path) -> None:
    write(tmp_path / "images/a.png")
    (tmp_path / "images/round").symlink_to(tmp_path / "images")
    (tmp_path / "other").mkdir()
    (tmp_path / "images/other").symlink_to(tmp_path / "other")
    write(tmp_path / "other/b.png")
    assert names([str(tmp_path / "images")]) == ["images/a.png", "images/other/b.png"]


def test_what_is_no_readable_file_is_accounted_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    found = collect([str(tmp_path)])
    assert found == [
        Unreadable(f"{tmp_path.name}/gone.png", "The file could not be read: No such file or directory."),
        Unreadable(f"{tmp_path.name}/pipe.png", "This is not a regular file."),
    ]


def test_a_zip_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.png", "w") as archive:
        archive.writestr("a.png", b"image")
    write(tmp_path / "text.zip", b"no archive")
    found = {Path(item.name).name: item for item in collect([str(tmp_path)])}
    assert isinstance(found["images.png"], LocalFile)
    assert found["images.png"].is_zip
    assert isinstance(found["text.zip"], LocalFile)
    assert not found["text.zip"].is_zip


def test_a_name_that_is_not_utf8_stays_unique(tmp_path: Path) -> None:
    for name in (b"\xff.png", b"\xfe.png"):
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:  # noqa: PTH118, PTH123  # bytes
            file.write(b"image")
    found = names([str(tmp_path)])
    assert [name.rsplit("/", 1)[1] for name in found] == ["\\xfe.png", "\\xff.png"]
    for name in found:
        name.encode()


def test_requests_stay_within_their_limits() -> None:
    files = [local(1000, f"{number}.png") for number in range(31 * FIRST_FILES + 2 * BATCH_FILES + 5)]
    assert [len(batch) for batch in pack(files)] == [20, 40, 80, 160, 320, BATCH_FILES, BATCH_FILES, 5]
    large = [local(FIRST_BYTES // 2, f"{number}.png") for number in range(62 + 33)]
    assert [len(batch) for batch in pack(large)] == [2, 4, 8, 16, 32, 32, 1]
    halves = [local(BATCH_BYTES // 2, f"{number}.png") for number in range(7)]
    assert [len(batch) for batch in pack(halves)] == [1, 1, 1, 1, 2, 1]


def test_a_zip_and_a_large_file_travel_alone_and_in_their_place() -> None:
    files = [local(1, "a"), local(1, "b.zip", is_zip=True), local(1, "c"), local(BATCH_BYTES + 1, "d"), local(1, "e")]
    assert [[file.name for file in batch] for batch in pack(files)] == [["a"], ["b.zip"], ["c"], ["d"], ["e"]]


def test_a_name_is_known_again_when_it_comes_back() -> None:
    image = local(1, 'a "image" at 100%22\n.png')
    assert image.sent_name == 'a "image" at 100%22\N{REPLACEMENT CHARACTER}.png'
    assert image.is_shown_as('a "image" at 100"\N{REPLACEMENT CHARACTER}.png')
    assert not image.is_shown_as("an image.png")


@pytest.mark.parametrize(
    ("name", "shown", "entry"),
    [
        ("x/z.zip", "x/z.zip/in/1.png", "in/1.png"),
        ("x/z.zip", "x/z.zip//etc/1.png", "/etc/1.png"),
        ("x/z.zip", "x/z.zip/x/z.zip/1.png", "x/z.zip/1.png"),
        ('"z" 100%22.zip', '"z" 100".zip/100%22.png', "100%22.png"),
        ("z" * 300, "z" * 11 + "/" + "e" * 500, "e" * 500),
        ("z" * 300, "/" + "e" * 511, "e" * 511),
        ("z.zip", "e" * 512, "e" * 512),
        ("y" * 600, "y" * 505 + "/11.png", "11.png"),
        ("z.zip", "in/1.png", "in/1.png"),
    ],
)
def test_an_entry_is_found_behind_its_zips_name(name: str, shown: str, entry: str) -> None:
    assert local(1, name, is_zip=True).entry_of(shown) == entry
