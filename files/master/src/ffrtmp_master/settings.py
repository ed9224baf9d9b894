"""The master's settings file."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from ffrtmp_shared import config
from msgspec import Meta

_MIB = 1024 * 1024

Seconds = Annotated[float, Meta(gt=0)]
Bytes = Annotated[int, Meta(gt=0)]

SQLITE_PREFIX = "sqlite:///"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator sets.

    A lease lasts `lease_s` and an agent is told to renew it every `heartbeat_s`. A node that was
    not heard of for `node_offline_s` is offline. A job gets `max_attempts` attempts; before the
    second it waits `retry_backoff_s`, before each further one twice as long as before the last.
    Artifacts and sources are kept below `data_dir`.
    """

    listen_address: str
    certificate_file: Path
    key_file: Path
    listen_port: Annotated[int, Meta(ge=1, le=65535)] = 8080
    database_url: str = "sqlite:////var/lib/ffmpeg-rtmp/master/farm.db"
    data_dir: Path = Path("/var/lib/ffmpeg-rtmp/master")
    lease_s: Seconds = 60.0
    heartbeat_s: Seconds = 10.0
    node_offline_s: Seconds = 60.0
    max_attempts: Annotated[int, Meta(ge=1)] = 3
    retry_backoff_s: Seconds = 5.0
    max_artifact_bytes: Bytes = 256 * _MIB
    max_source_bytes: Bytes = 4096 * _MIB
    log_level: Literal["debug", "info", "warning", "error"] = "info"


def load(path: Path) -> Settings:
    """Read the settings file at `path`.

    Raises ffrtmp_shared.config.ConfigError when it cannot be read, does not fit the type, or
    says what cannot work.
    """
    settings = config.load(path, Settings)
    if not settings.database_url.startswith(SQLITE_PREFIX):
        raise config.ConfigError(f"{path}: database_url must begin with {SQLITE_PREFIX}")
    if settings.heartbeat_s * 2 > settings.lease_s:
        raise config.ConfigError(
            f"{path}: heartbeat_s must be at most half of lease_s, or one lost heartbeat "
            "would end a lease"
        )
    return settings


def missing_files(settings: Settings) -> list[str]:
    """Say which files and folders that the settings name are not there."""
    found = [
        f"{name}: there is no file {path}"
        for name, path in (
            ("certificate_file", settings.certificate_file),
            ("key_file", settings.key_file),
        )
        if not path.is_file()
    ]
    if not settings.data_dir.is_dir():
        found.append(f"data_dir: there is no folder {settings.data_dir}")
    return found
