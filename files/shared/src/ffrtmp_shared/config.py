"""Settings files: YAML that is decoded into a settings type."""

from pathlib import Path
from typing import TypeVar

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

T = TypeVar("T")


class ConfigError(ValueError):
    """A settings file is unreadable or contains an invalid setting."""


def load(path: Path, settings_type: type[T]) -> T:
    """Read the YAML file at `path` as `settings_type`.

    Raises ConfigError, which names the file and the key, if the file cannot be read, is not
    valid YAML or does not match the type.
    """
    try:
        document = YAML(typ="safe", pure=True).load(path)
    except (OSError, YAMLError) as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        return msgspec.convert(document, settings_type, dec_hook=_decode_path)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from error


def _decode_path(field_type: type, value: object) -> object:
    if field_type is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(f"settings of type {field_type} are not supported")
