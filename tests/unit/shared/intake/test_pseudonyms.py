"""Pseudonyms: stable, one-way, and nothing of a name is kept anywhere."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from cli.client.answers import Row
from cli.client.images import LocalFile
from cli.client.results import account
from cli.client.upload import Span
from shared.db import Database
from shared.intake.pseudonyms import SUFFIXES, conceal, may_stand_for
from shared.settings import Settings
from tests.conftest import draw, encode
from tests.web_site import Site, make_zip, post_images

ON = Settings(pseudonymise_names=True, secret_key=SecretStr("one key of many letters"))
NAME = "Mustermann"


@given(st.text(min_size=1).filter(lambda name: name.strip("/\\")))
def test_a_name_has_one_pseudonym_that_says_nothing_of_it(name: str) -> None:
    concealed = conceal(name, ON)
    assert concealed == conceal(name, ON)
    assert may_stand_for(concealed, name)
    digits = [part.partition(".")[0] for part in concealed.split("/")]
    assert all(len(part) == 20 and set(part) <= set("0123456789abcdef") for part in digits)
    assert {f".{part.partition('.')[2]}" for part in concealed.split("/") if "." in part} <= SUFFIXES


@pytest.mark.parametrize(
    ("name", "ending"),
    [("a.JPEG", ".jpeg"), ("a.zip", ".zip"), ("scan.Mustermann", ""), (".jpeg", ""), ("a.tar.gz", ""), ("a", "")],
)
def test_only_a_known_ending_stays(name: str, ending: str) -> None:
    assert conceal(name, ON)[20:] == ending


def test_folders_are_told_apart_and_known_again() -> None:
    one, other, elsewhere = (conceal(name, ON) for name in ("x/a.png", "x/b.png", "y\\a.png"))
    assert one.split("/")[0] == other.split("/")[0] != elsewhere.split("/")[0]
    assert one.split("/")[1] == elsewhere.split("/")[1] != other.split("/")[1]


def test_another_key_gives_another_pseudonym() -> None:
    keys = [
        ON,
        ON.model_copy(update={"secret_key": SecretStr("two")}),
        ON.model_copy(update={"pseudonym_key": SecretStr("one key of many letters")}),
    ]
    assert len({conceal("a.png", settings) for settings in keys}) == 3
    kept = [settings.model_copy(update={"pseudonym_key": SecretStr("k")}) for settings in keys]
    assert len({conceal("a.png", settings) for settings in kept}) == 1, "a key of its own outlives the signing key"


def test_a_name_stays_where_nothing_is_asked_for() -> None:
    assert conceal("x\\a.png", Settings()) == "x\\a.png"


def test_no_name_reaches_database_or_store(settings: Settings, sqlite_database: Database, tmp_path: Path) -> None:
    site = Site(settings, sqlite_database, pseudonymise_names=True)
    client = site.token_client(site.add_user("tina"))
    image = encode(draw(1))
    sent = [
        (f"{NAME}.jpeg", image),
        (f"ward {NAME}/{NAME}.txt", b"no image"),
        (f"{NAME}.zip", make_zip({f"{NAME}/a.png": encode(draw(2), "PNG"), f"../{NAME}": b"x"})),
        (f"{NAME}.zip", b"PK\x03\x04 damaged"),
    ]
    answers = [post_images(client, *sent, name=f"folder {NAME}"), post_images(client, sent[0])]
    client.post("/api/v1/jobs", json={"name": NAME})
    assert [answer.status_code for answer in answers] == [202, 202]
    assert all(NAME not in answer.text for answer in answers)
    shown = [screening.file_name for screening in site.screenings()]
    assert shown[0] == shown[-1] == conceal(f"{NAME}.jpeg", site.settings)
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(kept) >= 3
    assert [path for path in kept if NAME.encode() in path.read_bytes() or NAME in str(path)] == []


def local(name: str, is_zip: bool = False) -> LocalFile:
    return LocalFile(Path(name), name, 1, is_zip, 0)


def row(name: str, position: int) -> Row:
    return Row(file_name=name, position=position, state="DONE")


def test_the_command_line_gives_images_their_own_names_back_by_position() -> None:
    files = [local("/in/Muster/a.jpeg"), local("w.zip", is_zip=True), local("no ending")]
    names = ["/in/Muster/a.jpeg", "w.zip/x/1.png", "w.zip/2.png", "no ending"]
    rows = [row(conceal(name, ON), position) for position, name in enumerate(names)]
    spans = {file.name: Span(file, *place) for file, place in zip(files, [(0, 1), (1, 2), (3, 1)], strict=True)}
    results = [result.file_name for result in account(files, spans, {}, rows)]
    assert results[0] == "/in/Muster/a.jpeg"
    assert results[1:3] == [f"w.zip/{conceal(name, ON)}" for name in ("x/1.png", "2.png")]
    assert results[3] == "no ending"


def test_a_zip_that_is_refused_as_a_whole_keeps_its_name() -> None:
    file = local("w.zip", is_zip=True)
    (result,) = account([file], {"w.zip": Span(file, 0, 1)}, {}, [row(conceal("w.zip", ON), 0)])
    assert result.file_name == "w.zip"
