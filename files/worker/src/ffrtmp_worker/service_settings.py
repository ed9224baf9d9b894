"""Command line and settings file of the exporters and host services (`--config FILE`)."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from ffrtmp_shared import logs, release_info
from ffrtmp_shared.config import ConfigError, load

T = TypeVar("T")

EXIT_CONFIG = 2


def read_settings(name: str, arguments: Sequence[str] | None, settings_type: type[T]) -> T:
    """Read the settings file that the command line names, and configure logging.

    Args:
        name: name of the program, which is used in messages.
        arguments: the command line without the program's name; None means `sys.argv`.
        settings_type: type of the settings.

    Returns:
        The settings.

    Raises:
        SystemExit: the file is missing or invalid; the reason is written to standard error.
    """
    parser = argparse.ArgumentParser(prog=name)
    parser.add_argument("--config", type=Path, required=True, help="the settings, a YAML file")
    parser.add_argument("--version", action="version", version=release_info.version_text(name))
    try:
        settings = load(parser.parse_args(arguments).config, settings_type)
    except ConfigError as error:
        sys.stderr.write(f"{name}: {error}\n")
        raise SystemExit(EXIT_CONFIG) from error
    logs.configure(getattr(settings, "log_level", "info"))
    return settings
