"""The container files say what the code says: commands, settings, secrets, ports and health paths exist."""

import json
import re
import tomllib

import pytest
import yaml

from cli.main import main
from cli.serving.compose_secrets import make_secrets
from shared.languages.catalogs import TRANSLATIONS
from shared.settings import PREFIX, Settings
from tests.conftest import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_every_part_is_there() -> None:
    assert set(SERVICES) == {"postgres", "redis", "migrate", "web", "worker", "worker-gpu", "sweep"}
    assert SERVICES["worker-gpu"]["profiles"] == ["gpu"]


@pytest.mark.parametrize("name", OURS)
def test_each_command_and_option_exists(name: str) -> None:
    program, command, *options = OURS[name]["command"]
    assert program == "pneumoscreen"
    subcommand = main.get_command(None, command)
    assert subcommand is not None
    known = {flag for parameter in subcommand.params for flag in parameter.opts}
    assert {option for option in options if option.startswith("--")} <= known


@pytest.mark.parametrize("name", OURS)
def test_each_setting_and_secret_exists(name: str) -> None:
    variables = {v.removeprefix(PREFIX).lower() for v in OURS[name]["environment"] if v != f"{PREFIX}SECRETS_DIR"}
    secrets = {secret.removeprefix(PREFIX.lower()) for secret in OURS[name]["secrets"]}
    assert variables | secrets <= set(Settings.model_fields)


@pytest.mark.parametrize("name", OURS)
def test_each_image_is_built_and_runs_as_nobody_special(name: str) -> None:
    target = OURS[name]["build"]["target"]
    stage = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)
    (own,) = [text for text in stage if text.splitlines()[0].endswith(f" AS {target}")]
    assert "USER pneumoscreen" in own
    assert OURS[name]["read_only"] is True
    assert OURS[name]["cap_drop"] == ["ALL"]


def test_the_web_image_has_no_network_runtime() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    (sync,) = re.findall(r"AS web\n.*?uv sync ([^\n]*)", DOCKERFILE, flags=re.DOTALL)
    assert "--no-default-groups" in sync
    installed = [package for group in re.findall(r"--group (\S+)", sync) for package in groups[group]]
    assert installed
    assert not [package for package in installed if re.match("keras|openvino|tensorflow", package)]


def test_health_checks_ask_for_what_exists() -> None:
    from web.app import create_app

    rules = {str(rule) for rule in create_app_for_routes(create_app).url_map.iter_rules()}
    (path,) = re.findall(r"http://127\.0\.0\.1:8000(/\w+)", json.dumps(SERVICES["web"]["healthcheck"]))
    assert path in rules
    _, command, option = SERVICES["worker"]["healthcheck"]["test"][1:]
    assert option in {flag for parameter in main.get_command(None, command).params for flag in parameter.opts}


def create_app_for_routes(create_app):
    from pydantic import SecretStr

    return create_app(Settings(secret_key=SecretStr("for the routes only")))


def test_the_published_port_is_the_one_listened_on() -> None:
    command = SERVICES["web"]["command"]
    listened = command[command.index("--port") + 1]
    assert [port.rsplit(":", 1)[1] for port in SERVICES["web"]["ports"]] == [listened]


def test_redis_appends_and_evicts_nothing() -> None:
    command = SERVICES["redis"]["command"]
    assert command[command.index("--appendonly") + 1] == "yes"
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"


def test_volumes_are_named_and_used() -> None:
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert used == set(COMPOSE["volumes"])


def test_the_secret_files_are_the_ones_that_are_made(tmp_path) -> None:
    made = {path.name for path in make_secrets(tmp_path / "secrets")}
    assert made == {secret["file"].removeprefix("secrets/") for secret in COMPOSE["secrets"].values()}
    assert make_secrets(tmp_path / "secrets") == [], "what is there is kept"
    password = (tmp_path / "secrets" / "postgres_password").read_text()
    assert password in (tmp_path / "secrets" / "pneumoscreen_database_url").read_text()


@pytest.mark.parametrize("name", OURS)
def test_what_a_service_writes_lies_on_a_volume_or_in_memory(name: str) -> None:
    """Its root is read-only: a folder that the settings name and nothing is mounted on cannot be made."""
    service = SERVICES[name]
    mounts = [volume.split(":")[1] for volume in service.get("volumes", [])] + service.get("tmpfs", [])
    written = {"web": ["STORE_DIR"], "worker": ["STORE_DIR", "GRAPHS_DIR"], "sweep": ["STORE_DIR"]}.get(name, [])
    for setting in written:
        folder = service["environment"][f"{PREFIX}{setting}"]
        assert any(folder == mount or folder.startswith(f"{mount}/") for mount in mounts), (setting, mounts)
    assert "/tmp" in mounts


def test_volumes_have_their_owner_from_the_image() -> None:
    """Docker gives a new volume the owner and rights of the folder that it is mounted on."""
    (made,) = re.findall(r"install --directory --owner pneumoscreen [^\n]*", DOCKERFILE)
    mounted = {volume.split(":")[1] for service in OURS.values() for volume in service.get("volumes", [])}
    assert mounted <= set(made.split())


def test_every_image_has_the_translations() -> None:
    """Pages need them, and the sweep for e-mails."""
    base = DOCKERFILE.split(" AS base\n")[1].split("\nFROM ")[0]
    folder = TRANSLATIONS.relative_to(ROOT).parts[0]
    assert f"COPY {folder} {folder}\n" in base
