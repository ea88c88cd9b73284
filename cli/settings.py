"""The settings for commands, with errors as messages."""

from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError

from cli.errors import CommandFailed
from shared.settings import PREFIX, Settings, load_settings


def read_settings(data_dir: Path | None = None) -> Settings:
    """Read the settings, with another data folder where one is given; raise CommandFailed where one is invalid."""
    try:
        return load_settings(**({} if data_dir is None else {"data_dir": data_dir}))
    except ValidationError as error:
        raise CommandFailed(f"A setting is wrong. {'; '.join(map(_told, error.errors()))}") from error
    except SettingsError as error:
        raise CommandFailed(f"The settings could not be read: {error}") from error


def _told(fault: ErrorDetails) -> str:
    """Name the setting and the error; an error of several settings together names them itself."""
    name = "_".join(map(str, fault["loc"])).upper()
    return f"{PREFIX}{name}: {fault['msg']}" if name else fault["msg"]
