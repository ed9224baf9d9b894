"""Reading a program's settings file into its type."""

from pathlib import Path
from typing import TypeVar

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

T = TypeVar("T")


class ConfigError(ValueError):
    """A settings file cannot be read or says something that it may not."""


def load(path: Path, settings_type: type[T]) -> T:
    """Read the YAML file at `path` as `settings_type`.

    Raises ConfigError, naming the file and the key, when the file cannot be read, is not YAML,
    or does not fit the type.
    """
    try:
        document = YAML(typ="safe", pure=True).load(path)
    except (OSError, YAMLError) as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        return msgspec.convert(document, settings_type, dec_hook=_decode_path)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from error


def _decode_path(wanted: type, value: object) -> object:
    if wanted is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(f"settings cannot hold {wanted}")
