"""`users` and `tokens` on a database of their own."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import func, select

from cli.data_folder import URL_FILE
from cli.main import main
from migrations.schema import upgrade
from shared.accounts import credentials, links, sessions, tokens, users
from shared.audit.record import Action
from shared.db import Database, now
from shared.tables import ApiToken, AuditEvent, BrowserSession, Role, Scope, User

Call = Callable[..., Result]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def rows(data_dir: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{data_dir / 'pneumoscreen.db'}")
    upgrade(database)
    yield database
    database.close()


@pytest.fixture
def call(rows: Database, data_dir: Path) -> Call:
    def run(group: str, *arguments: str, **options: str) -> Result:
        return CliRunner().invoke(main, [group, "--data-dir", str(data_dir), *arguments], **options)

    return run


def one(database: Database, name: str = "rita") -> User:
    with database.read() as session:
        return users.get_user(session, name)


def sign_in(database: Database, name: str = "rita") -> None:
    with database.write() as session:
        user = users.get_user(session, name)
        sessions.begin(session, user, lasts=timedelta(hours=1), address=None, user_agent="")


def session_count(database: Database) -> int | None:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(BrowserSession))


def trail(database: Database) -> list[tuple[str, object]]:
    with database.read() as session:
        return [(e.action, e.user_id) for e in session.scalars(select(AuditEvent).order_by(AuditEvent.id))]


def test_an_account_is_added_listed_and_written_to_the_trail(call: Call, rows: Database) -> None:
    assert call("users", "add", "rita", "--role", "reader").exit_code == 0
    assert one(rows).role is Role.READER
    assert re.search(r"rita\W+reader\W+yes\W+none", call("users", "list").output)
    assert trail(rows) == [(Action.USER_CHANGED, None)]


def test_a_name_that_another_command_took_at_that_moment_is_said_to_be_taken(
    call: Call, rows: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("users", "add", "rita", "--role", "reader").exit_code == 0
    find, not_there_yet = users.find_user, [None]
    monkeypatch.setattr(users, "find_user", lambda *who: not_there_yet.pop() if not_there_yet else find(*who))
    late = call("users", "add", "rita", "--role", "admin")
    assert (late.exit_code, "There is an account named 'rita' already." in late.output) == (2, True), late.output
    assert (one(rows).role, len(trail(rows))) == (Role.READER, 1)


def test_a_person_is_written_in_any_script(call: Call, rows: Database) -> None:
    added = call(
        "users", "add", "rita", "--role", "reader", "--display-name", "Frau Müller", "--email", "rita@x.example"
    )
    assert added.exit_code == 0
    assert (one(rows).display_name, one(rows).email) == ("Frau Müller", "rita@x.example")
    assert "Frau Müller" in call("users", "list").output
    told = call("users", "describe", "rita", "--email", "")
    assert told.output == "rita has no e-mail address now.\n"
    assert (one(rows).display_name, one(rows).email) == ("Frau Müller", None)
    told = call("users", "describe", "rita", "--display-name", "Frau Mu\u0308ller")
    assert told.output == "rita is shown as Frau Müller now.\n", "the same, composed"
    assert len(trail(rows)) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["describe", "rita"], "Give --display-name, --email or both."),
        (["describe", "nobody", "--email", "a@b.example"], "no account named 'nobody'"),
        (["describe", "rita", "--email", "a@b@c"], "one @"),
        (["describe", "rita", "--email", "x" * 250 + "@b.example"], "at most 254"),
        (["describe", "rita", "--display-name", "a\u202eb"], "no control characters"),
        (["describe", "rita", "--display-name", "a\nb"], "no control characters"),
        (["describe", "rita", "--display-name", "x" * 129], "at most 128"),
        (["add", "rita", "--role", "reader"], "named 'rita' already"),
        (["add", "../x", "--role", "reader"], "Received: '../x'"),
        (["add", "tom"], "--role"),
        (["add", "tom", "--role", "king"], "'king'"),
        (["link", "nobody"], "no account named 'nobody'"),
        (["role", "nobody", "admin"], "no account named 'nobody'"),
        (["disable", "nobody"], "no account named 'nobody'"),
        (["link", "rita", "--url", "ftp://x"], "http://"),
        (["password", "rita", "--password", "short"], "12 to 1,024"),
    ],
)
def test_a_mistake_is_told_and_changes_nothing(call: Call, rows: Database, arguments: list[str], message: str) -> None:
    call("users", "add", "rita", "--role", "reader")
    before = trail(rows)
    result = call("users", *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert trail(rows) == before


def test_a_link_signs_in_once(call: Call, rows: Database) -> None:
    call("users", "add", "rita", "--role", "reader")
    result = call("users", "link", "rita", "--url", "https://x.example/")
    secret = result.output.strip().removeprefix("https://x.example/sign-in/link/")
    with rows.write() as session:
        assert links.use_link(session, secret) is not None
        assert links.use_link(session, secret) is None


def test_a_password_is_asked_for_twice_and_not_shown(call: Call, rows: Database) -> None:
    call("users", "add", "rita", "--role", "reader")
    sign_in(rows)
    secret = "a long enough phrase"
    result = call("users", "password", "rita", input=f"{secret}\n{secret}\n")
    assert result.exit_code == 0
    assert secret not in result.output
    with rows.read() as session:
        assert credentials.check_password(session, "rita", secret) is not None
    assert session_count(rows) == 0
    assert trail(rows)[-1] == (Action.PASSWORD_CHANGED, None)


def test_tokens_are_offered_for_revocation_where_a_password_is_set(call: Call, rows: Database) -> None:
    call("users", "add", "rita", "--role", "technician")
    secret = call("tokens", "create", "rita").stdout.strip()
    told = call("users", "password", "rita", "--password", "a long enough phrase").output
    assert "API tokens of rita that go on: 1. 'pneumoscreen tokens revoke --user rita'" in told
    with rows.read() as session:
        assert tokens.token_user(session, secret) is not None
    told = call("users", "password", "rita", "--password", "another long phrase", "--revoke-tokens").output
    assert "go on" not in told
    with rows.read() as session:
        assert tokens.token_user(session, secret) is None
    assert trail(rows)[-2:] == [(Action.PASSWORD_CHANGED, None), (Action.TOKEN_CHANGED, None)]


def test_every_token_of_an_account_is_revoked_at_once(call: Call, rows: Database) -> None:
    for name in ("rita", "tom"):
        call("users", "add", name, "--role", "technician")
    kept = call("tokens", "create", "tom").stdout.strip()
    gone = [call("tokens", "create", "rita").stdout.strip() for _ in range(2)]
    assert "revoked: 2." in call("tokens", "revoke", "--user", "rita").output
    with rows.read() as session:
        assert [tokens.token_user(session, secret) for secret in gone] == [None, None]
        assert tokens.token_user(session, kept) is not None


def test_two_different_passwords_change_nothing(call: Call, rows: Database) -> None:
    call("users", "add", "rita", "--role", "reader")
    assert call("users", "password", "rita", input="a long enough phrase\nanother phrase\n").exit_code != 0
    assert one(rows).password_hash is None


def test_an_account_is_kept_out_and_let_in_again(call: Call, rows: Database) -> None:
    call("users", "add", "rita", "--role", "reader")
    sign_in(rows)
    call("users", "disable", "rita")
    assert not one(rows).is_active
    assert session_count(rows) == 0
    assert "enable rita" in call("users", "link", "rita").output
    call("users", "enable", "rita")
    call("users", "role", "rita", "admin")
    assert one(rows).is_active
    assert one(rows).role is Role.ADMIN


@pytest.mark.parametrize("taken", [("disable", "rita"), ("role", "rita", "reader")])
def test_the_last_admin_who_may_sign_in_stays(call: Call, rows: Database, taken: tuple[str, ...]) -> None:
    call("users", "add", "rita", "--role", "admin")
    call("users", "add", "tom", "--role", "admin")
    call("users", "add", "tina", "--role", "technician")
    assert call("users", "disable", "tom").exit_code == 0
    sign_in(rows)
    before = trail(rows)
    refused = call("users", *taken)
    assert refused.exit_code == 2
    assert "rita is the last admin" in refused.output
    assert (one(rows).role, one(rows).is_active, session_count(rows)) == (Role.ADMIN, True, 1)
    assert trail(rows) == before
    assert call("users", "role", "rita", "admin").exit_code == 0
    assert call("users", "enable", "tom").exit_code == 0
    assert call("users", *taken).exit_code == 0
    assert not (one(rows).is_active and one(rows).role is Role.ADMIN)


def test_the_data_folder_may_stand_behind_the_commands_name(rows: Database, data_dir: Path) -> None:
    def run(*arguments: str) -> Result:
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        return result

    behind = ("--data-dir", str(data_dir))
    run("users", "add", "rita", "--role", "reader", *behind)
    assert one(rows).role is Role.READER
    run("tokens", "create", *behind, "rita")
    assert "rita" in run("tokens", "list", *behind).output
    # The nearer one counts.
    assert "rita" in run("users", "--data-dir", str(data_dir / "none"), "list", *behind).output


def test_a_link_is_for_the_server_on_the_data_folder(
    call: Call, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("users", "add", "rita", "--role", "reader")
    nowhere = call("users", "link", "rita")
    assert nowhere.stdout.startswith("http://127.0.0.1:8000/sign-in/link/")
    assert "--url" in nowhere.stderr
    (data_dir / URL_FILE).write_text("http://127.0.0.1:8470\n")
    there = call("users", "link", "rita")
    assert there.stdout.startswith("http://127.0.0.1:8470/sign-in/link/")
    assert there.stderr == ""
    monkeypatch.setenv("PNEUMOSCREEN_URL", "https://x.example")
    assert call("users", "link", "rita").stdout.startswith("https://x.example/sign-in/link/")
    assert call("users", "link", "rita", "--url", "https://y.example").stdout.startswith("https://y.example/")


def test_a_token_opens_until_it_is_revoked(call: Call, rows: Database) -> None:
    call("users", "add", "rita", "--role", "technician")
    secret = call("tokens", "create", "rita", "--name", "pacs", "--days", "30").stdout.strip()
    with rows.read() as session:
        user = tokens.token_user(session, secret)
        token = session.scalars(select(ApiToken)).one()
    assert user is not None
    assert user.name == "rita"
    assert token.expires_at is not None
    assert timedelta(days=29) < token.expires_at - now() < timedelta(days=31)
    listed = call("tokens", "list").output
    assert str(token.id) in listed
    assert "pacs" in listed
    assert secret not in listed
    assert call("tokens", "revoke", str(token.id)).exit_code == 0
    assert "revoked" in call("tokens", "list").output
    with rows.read() as session:
        assert tokens.token_user(session, secret) is None
    assert [action for action, _ in trail(rows)] == [Action.USER_CHANGED, Action.TOKEN_CHANGED, Action.TOKEN_CHANGED]


@pytest.mark.parametrize(
    ("options", "scopes", "days"),
    [
        ([], {Scope.READ, Scope.SUBMIT}, 90),
        (["--scope", "read"], {Scope.READ}, 90),
        (["--scope", "admin", "--scope", "read", "--days", "7"], {Scope.ADMIN, Scope.READ}, 7),
        (["--no-expiry"], {Scope.READ, Scope.SUBMIT}, None),
    ],
)
def test_a_token_has_the_scopes_and_days_that_are_asked_for(
    call: Call, rows: Database, options: list[str], scopes: set[Scope], days: int | None
) -> None:
    call("users", "add", "rita", "--role", "technician")
    result = call("tokens", "create", "rita", *options)
    assert result.exit_code == 0
    assert (f"ends in {days} days" if days else "does not end by itself") in result.stderr
    with rows.read() as session:
        token = session.scalars(select(ApiToken)).one()
    assert token.scopes == scopes
    assert (token.expires_at is None) is (days is None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create", "nobody"], "no account named 'nobody'"),
        (["create", "rita", "--scope", "all"], "'all'"),
        (["create", "rita", "--days", "0"], "0"),
        (["create", "rita", "--name", "x" * 65], "65"),
        (["revoke", "01890000-0000-7000-8000-000000000000"], "no token"),
        (["revoke", "x"], "UUID"),
        (["revoke"], "--user NAME"),
        (["revoke", "01890000-0000-7000-8000-000000000000", "--user", "rita"], "either"),
        (["revoke", "--user", "nobody"], "no account named 'nobody'"),
    ],
)
def test_a_wrong_token_command_is_told(call: Call, arguments: list[str], message: str) -> None:
    call("users", "add", "rita", "--role", "reader")
    result = call("tokens", *arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["users", "--data-dir", str(tmp_path / "none"), "list"])
    assert result.exit_code == 2
    assert "There is no database" in result.output
    assert not (tmp_path / "none").exists()


def test_a_database_without_tables_is_told(tmp_path: Path) -> None:
    (tmp_path / "pneumoscreen.db").touch()
    result = CliRunner().invoke(main, ["users", "--data-dir", str(tmp_path), "list"])
    assert result.exit_code == 2
    assert "no such table" in result.output
    assert "doctor" in result.output


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PNEUMOSCREEN_BATCH_SIZE", "many")
    result = CliRunner().invoke(main, ["users", "list"])
    assert result.exit_code == 2
    assert "PNEUMOSCREEN_BATCH_SIZE" in result.output
