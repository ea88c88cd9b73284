"""Settings as they come from an environment or from secret files: empty ones, short keys, wrong ones."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import SecretStr, ValidationError

from cli.main import main
from shared.refusals import OF_THE_GATE, Rejection
from shared.settings import LEAST_KEY, PREFIX, Settings, load_settings


@pytest.mark.parametrize("empty", ["", " ", "\n"])
@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_an_empty_variable_leaves_the_default(name: str, empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}{name.upper()}", empty)
    settings = load_settings()
    assert getattr(settings, name) == Settings.model_fields[name].get_default(call_default_factory=True)
    assert name not in settings.model_fields_set


@pytest.mark.parametrize("name", ["secret_key", "redis_url", "oidc_roles", "store_dir"])
def test_an_empty_secret_file_leaves_the_default(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{PREFIX}{name}".lower()).write_text("\n")
    monkeypatch.setenv(f"{PREFIX}SECRETS_DIR", str(tmp_path))
    assert name not in load_settings().model_fields_set


@pytest.mark.parametrize("key", ["secret_key", "pseudonym_key"])
def test_a_short_key_is_refused_with_a_sentence_that_does_not_show_it(key: str) -> None:
    with pytest.raises(ValidationError, match=f"at least {LEAST_KEY} characters") as refused:
        Settings(**{key: SecretStr("s3cr3t")})
    assert "s3cr3t" not in str(refused.value)
    Settings(**{key: SecretStr("s" * LEAST_KEY)})


@pytest.mark.parametrize("command", [["serve"], ["web"], ["worker"], ["sweep"], ["migrate"], ["worker", "--ready"]])
@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("SECRET_KEY", "x", "openssl rand"),
        ("LEASE_SECONDS", "soon", "LEASE_SECONDS"),
        ("OIDC_ROLES", "{", "JSON"),
        ("SECRETS_DIR", "/not/there", "SECRETS_DIR"),
    ],
)
def test_every_program_says_which_setting_is_wrong(
    command: list[str], variable: str, value: str, told: str, *, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(f"{PREFIX}DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv(f"{PREFIX}{variable}", value)
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert told in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("key", [None, ""])
def test_pages_without_a_key_are_refused_before_they_start(key: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if key is not None:
        monkeypatch.setenv(f"{PREFIX}SECRET_KEY", key)
    result = CliRunner().invoke(main, ["web"])
    assert result.exit_code == 2
    assert f"{PREFIX}SECRET_KEY is not set" in result.output


MAIL = {
    "SMTP_HOST": "mail.example.org",
    "SMTP_FROM": "pneumo@example.org",
    "PUBLIC_URL": "https://pneumo.example.org/x/",
}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"SMTP_FROM": ""}, "SMTP_FROM must be set"),
        ({"SMTP_FROM": "PneumoScreen <pneumo@example.org>"}, "must be an address such as"),
        ({"SMTP_FROM": "pneumo@example.org\nBcc: eve@example.org"}, "must be an address such as"),
        ({"PUBLIC_URL": ""}, "PUBLIC_URL must be set"),
        ({"PUBLIC_URL": "pneumo.example.org"}, "must be an address such as"),
        ({"PUBLIC_URL": "https://user@pneumo.example.org"}, "must be an address such as"),
        ({"PUBLIC_URL": "https://pneumo.example.org/>\r\nX: y"}, "must be an address such as"),
        ({"SMTP_HOST": "mail.example.org:25"}, "SMTP_HOST must be a name"),
        ({"SMTP_USER": "pneumo"}, "set together"),
        ({"SMTP_PASSWORD": "s3cr3t"}, "set together"),
        ({"SMTP_USER": "pneumo", "SMTP_PASSWORD": "s3cr3t", "SMTP_TLS": "none"}, "unencrypted"),
        ({"SMTP_USER": "pneumo", "SMTP_PASSWORD": "s3cr3tß"}, "ASCII"),
        ({"SMTP_PORT": "465"}, "465 takes"),
        ({"SMTP_PORT": "587", "SMTP_TLS": "implicit"}, "587 takes"),
        ({"SMTP_TLS": "ssl"}, "'starttls', 'implicit' or 'none'"),
        ({"SMTP_SECONDS": "60"}, "less than or equal to 20"),
    ],
)
def test_a_mail_server_that_cannot_be_used_is_refused_with_a_sentence(
    changed: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**MAIL, **changed}.items():
        monkeypatch.setenv(f"{PREFIX}{name}", value)
    result = CliRunner().invoke(main, ["sweep"])
    assert result.exit_code == 2
    assert told in result.output
    assert "s3cr3t" not in result.output


def test_a_mail_server_has_the_port_of_its_encryption(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {**MAIL, "SMTP_USER": "pneumo", "SECRETS_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(f"{PREFIX}{name}", value)
    (tmp_path / "pneumoscreen_smtp_password").write_text("s3cr3t")
    for tls, port in (("starttls", 587), ("implicit", 465)):
        monkeypatch.setenv(f"{PREFIX}SMTP_TLS", tls)
        settings = load_settings()
        assert settings.mail_port == port
        assert settings.smtp_password == SecretStr("s3cr3t")
    assert settings.public_url == "https://pneumo.example.org/x"
    monkeypatch.setenv(f"{PREFIX}SMTP_TLS", "none")
    monkeypatch.setenv(f"{PREFIX}SMTP_HOST", "127.0.0.1")  # a password stays on this machine
    assert load_settings().mail_port == 25


def test_codes_that_the_gate_ignores_are_named_or_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().ignored_codes == frozenset()
    monkeypatch.setenv("PNEUMOSCREEN_GATE_IGNORES", " Rotated, too_dark ")
    assert load_settings().ignored_codes == {Rejection.ROTATED, Rejection.TOO_DARK}
    monkeypatch.setenv("PNEUMOSCREEN_GATE_IGNORES", "all")
    assert load_settings().ignored_codes == OF_THE_GATE
    monkeypatch.setenv("PNEUMOSCREEN_GATE_IGNORES", "rotated,no_content")
    with pytest.raises(ValueError, match=r"It knows all, cut_off.*Received: no_content"):
        load_settings()
