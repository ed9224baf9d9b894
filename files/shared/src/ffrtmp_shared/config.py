"""Settings files: YAML that is decoded into a settings type."""

import re
from pathlib import Path
from typing import TypeVar

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

T = TypeVar("T")

_QUOTED = re.compile("""'.*'|".*"|`.*`""", re.DOTALL)


class ConfigError(ValueError):
    """A settings file is unreadable or contains an invalid setting."""


def load(path: Path, settings_type: type[T]) -> T:
    """Read the YAML file at `path` as `settings_type`.

    Raises ConfigError, which names the file and the key, if the file cannot be read, is not
    valid YAML or does not match the type.
    """
    try:
        document = YAML(typ="safe", pure=True).load(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error}") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: {_syntax_problem(error)}") from None
    try:
        return msgspec.convert(document, settings_type, dec_hook=_decode_path)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from error


def _syntax_problem(error: Exception) -> str:
    """Return the problem and its position, without the values of the file, which may be secret."""
    if not isinstance(error, MarkedYAMLError):
        return f"not valid YAML: {_QUOTED.sub('...', str(error))}"
    mark = error.problem_mark or error.context_mark
    place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    if isinstance(error, DuplicateKeyError):
        return f"a key appears a second time{place}"
    return f"{_QUOTED.sub('...', error.problem or 'not valid YAML')}{place}"


def _decode_path(field_type: type, value: object) -> object:
    if field_type is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(f"settings of type {field_type} are not supported")
