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
POSTGRESQL_PREFIX = "postgresql://"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator sets.

    A lease lasts `lease_s` and an agent is told to renew it every `heartbeat_s`. A node that was
    not heard of for `node_offline_s` is offline. A job gets `max_attempts` attempts; before the
    second it waits `retry_backoff_s`, before each further one twice as long as before the last.
    Artifacts and sources are kept below `data_dir`, or in the database when it is PostgreSQL,
    whose password stands in `database_password_file`.

    A job that waited `priority_step_s` longer than one of the next higher priority goes before
    it. A token may make `requests_per_s_max` requests a second, an address try
    `failed_logins_per_minute_max` unknown tokens a minute. Of an attempt's log `max_log_bytes`
    are kept. Finished jobs are removed after `jobs_keep_days`, artifacts after
    `artifacts_keep_days` and the oldest beyond `artifacts_max_bytes`; null keeps them. With
    `client_ca_file` every client must show a certificate of that CA.
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
    max_log_bytes: Bytes = _MIB
    database_password_file: Path | None = None
    priority_step_s: Seconds = 3600.0
    requests_per_s_max: Annotated[float, Meta(ge=1)] = 2000.0
    failed_logins_per_minute_max: Annotated[int, Meta(ge=1)] = 60
    jobs_keep_days: Annotated[float, Meta(gt=0)] | None = None
    artifacts_keep_days: Annotated[float, Meta(gt=0)] | None = None
    artifacts_max_bytes: Bytes | None = None
    client_ca_file: Path | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def is_shared(self) -> bool:
        """Whether other masters may work on the same database."""
        return self.database_url.startswith(POSTGRESQL_PREFIX)

    def database_password(self) -> str | None:
        """Read the database's password; raises OSError when its file cannot be read."""
        if self.database_password_file is None:
            return None
        return self.database_password_file.read_text(encoding="utf-8").strip()


def load(path: Path) -> Settings:
    """Read the settings file at `path`.

    Raises ffrtmp_shared.config.ConfigError when it cannot be read, does not fit the type, or
    says what cannot work.
    """
    settings = config.load(path, Settings)
    if not settings.database_url.startswith((SQLITE_PREFIX, POSTGRESQL_PREFIX)):
        raise config.ConfigError(
            f"{path}: database_url must begin with {SQLITE_PREFIX} or {POSTGRESQL_PREFIX}"
        )
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
            ("database_password_file", settings.database_password_file),
            ("client_ca_file", settings.client_ca_file),
        )
        if path is not None and not path.is_file()
    ]
    if not settings.data_dir.is_dir():
        found.append(f"data_dir: there is no folder {settings.data_dir}")
    return found
