"""Whether a database needs its migrations run, told without loading them."""

import subprocess
import sys
from pathlib import Path

from alembic import command

from migrations.newest import has_newest
from migrations.schema import configuration, upgrade
from shared.db import Database
from tests.conftest import ROOT


def test_each_stage_of_a_database(tmp_path: Path) -> None:
    file = tmp_path / "a folder with a %" / "some.db"
    url = f"sqlite:///{file}"
    database = Database(url)
    assert not has_newest(url), "no folder yet"
    file.parent.mkdir()
    assert not has_newest(url), "no file yet"
    assert not file.exists()
    file.touch()
    assert not has_newest(url), "no tables yet"
    upgrade(database)
    assert has_newest(url)
    command.downgrade(configuration(database), "-1")
    assert not has_newest(url)
    database.close()
    file.write_bytes(b"no database at all" * 100)
    assert not has_newest(url)


def test_of_a_server_nothing_is_known_beforehand() -> None:
    assert not has_newest("postgresql+psycopg://localhost/images")


def test_it_loads_next_to_nothing() -> None:
    code = "import sys, migrations.newest; print(*sorted({'alembic', 'sqlalchemy', 'shared'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
