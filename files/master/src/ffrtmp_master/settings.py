"""The master's settings file."""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from ffrtmp_shared import config
from ffrtmp_shared.exporter import ExporterSettings
from ffrtmp_shared.server_certificates import CertificateFiles
from ffrtmp_shared.suite_limits import MAX_REPEATS
from msgspec import Meta
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

_MIB = 1024 * 1024

Seconds = Annotated[float, Meta(gt=0, le=31_536_000)]
# The bound keeps the time before which data is removed within the range of dates.
_DAYS_MAX = 36_500
Days = Annotated[float, Meta(gt=0, le=_DAYS_MAX)]
# The bounds keep sums and products of sizes and numbers within the integers of the databases.
_BYTES_MAX = 2**60
Bytes = Annotated[int, Meta(gt=0, le=_BYTES_MAX)]
Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]

SQLITE_PREFIX = "sqlite:///"
POSTGRESQL_PREFIX = "postgresql://"

DEFAULT_MAX_REQUIREMENT_SETS = 10_000
"""The default maximum number of different requirement sets of queued jobs."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of the master. Durations are in seconds, sizes in bytes, ages in days.

    Attributes:
        listen_address: The address that the server listens on.
        certificate_file: The certificate of the server.
        key_file: The private key of the certificate.
        listen_port: The port that the server listens on.
        database_url: The URL of the SQLite or PostgreSQL database, without a password.
        data_dir: The directory in which artifacts and sources are stored, unless PostgreSQL stores
            them.
        lease_s: The duration of a lease.
        heartbeat_s: The interval at which agents renew a lease.
        node_offline_s: The time without requests after which a node is offline.
        max_attempts: The maximum number of attempts of a job.
        retry_backoff_s: The delay before the second attempt; it doubles for each further attempt.
        max_artifact_bytes: The maximum size of an artifact.
        max_source_bytes: The maximum size of a source.
        max_log_bytes: The maximum size of an attempt's log.
        max_attempt_bytes: The maximum total size of the artifacts of an attempt.
        max_attempt_files: The maximum number of artifacts of an attempt.
        max_token_bytes: The maximum total size of the sources that were uploaded with one token.
        max_token_files: The maximum number of sources that were uploaded with one token.
        reserved_bytes: The free space on the disk that only results may use.
        database_max_bytes: The size of the database beyond which only results may enlarge it. If
            null, the size is not limited.
        database_password_file: The file that contains the database password.
        priority_step_s: How much longer a job must have waited to be leased before a job of the
            next higher priority.
        requests_per_s_max: The maximum number of requests per second for each token.
        failed_logins_per_minute_max: The maximum number of requests with unknown tokens per
            minute for each client address.
        jobs_keep_days: The age at which finished jobs are removed. If null, they are kept forever.
        artifacts_keep_days: The age at which artifacts are removed. If null, they are not removed
            because of their age.
        artifacts_max_bytes: The maximum total size of artifacts. If it is exceeded, the oldest
            artifacts are removed. If null, the total size is not limited.
        sources_keep_days: The time since their last use after which sources are removed that no
            unfinished run names. If null, they are kept.
        max_requirement_sets: The maximum number of different requirement sets of queued jobs.
        client_ca_file: The CA certificate that must have issued the certificate of each client. If
            null, clients need no certificate.
        metrics: The listener of the metrics for scrapers with a certificate of the farm's CA. If
            null, only clients with a token can read the metrics.
        client_crl_file: The revocation list of that CA. If null, no certificate is considered
            revoked.
        repeats_min: The minimum number of repeats that a suite must request.
        price_book_file: The file with the price book, in JSON. If null, the price book is empty.
        log_level: The minimum level of the messages that are logged.
        connections_max: The maximum number of connections.
        connections_per_address_max: The maximum number of connections from the same IPv4 address
            or IPv6 /64 network.
        trusted_proxies: The addresses or networks of load balancers, which are exempt from
            connections_per_address_max.
        handshake_timeout_s: The maximum duration of a TLS handshake.
        head_timeout_s: The maximum time until the head of a request is complete.
        idle_timeout_s: The maximum time between two requests of a connection. It must be longer
            than the pause between two requests of an agent, because an idle connection costs less
            than a new TLS handshake.
        body_rate_min_bytes_per_s: The minimum rate at which the body of a request must be received.
        body_window_s: The time over which the rate of a body is measured.
        request_line_max_bytes: The maximum size of the target in the request line.
        headers_max: The maximum number of headers of a request.
        headers_max_bytes: The maximum size of all headers of a request.
        bodies_max_bytes: The maximum size of all bodies that are held in memory at the same time.
        suites_parsed_at_once_max: The maximum number of large suites that are parsed or wait to be
            parsed at the same time.
        loop_max_age_s: The time after which the master is not ready if a loop that leases depend
            on has not completed. The interval of the loop is added.
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
    max_attempts: Annotated[int, Meta(ge=1, le=100)] = 3
    retry_backoff_s: Seconds = 5.0
    max_artifact_bytes: Bytes = 256 * _MIB
    max_source_bytes: Bytes = 4096 * _MIB
    max_log_bytes: Bytes = _MIB
    max_attempt_bytes: Bytes = 1024 * _MIB
    max_attempt_files: Annotated[int, Meta(ge=1, le=256)] = 64
    max_token_bytes: Bytes = 40 * 1024 * _MIB
    max_token_files: Count = 10_000
    reserved_bytes: Annotated[int, Meta(ge=0, le=_BYTES_MAX)] = 1024 * _MIB
    database_max_bytes: Bytes | None = None
    database_password_file: Path | None = None
    priority_step_s: Seconds = 3600.0
    requests_per_s_max: Annotated[float, Meta(ge=1, le=1_000_000_000)] = 2000.0
    failed_logins_per_minute_max: Count = 60
    jobs_keep_days: Days | None = None
    artifacts_keep_days: Days | None = None
    artifacts_max_bytes: Bytes | None = None
    sources_keep_days: Annotated[float, Meta(ge=0.01, le=_DAYS_MAX)] | None = None
    max_requirement_sets: Count = DEFAULT_MAX_REQUIREMENT_SETS
    client_ca_file: Path | None = None
    metrics: ExporterSettings | None = None
    client_crl_file: Path | None = None
    repeats_min: Annotated[int, Meta(ge=1, le=MAX_REPEATS)] = 1
    price_book_file: Path | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    connections_max: Count = 8192
    connections_per_address_max: Count = 512
    trusted_proxies: tuple[str, ...] = ()
    handshake_timeout_s: Seconds = 10.0
    head_timeout_s: Seconds = 10.0
    idle_timeout_s: Seconds = 75.0
    body_rate_min_bytes_per_s: Annotated[float, Meta(gt=0, le=_BYTES_MAX)] = 4096.0
    body_window_s: Seconds = 30.0
    request_line_max_bytes: Bytes = 8 * 1024
    headers_max: Count = 100
    headers_max_bytes: Bytes = 32 * 1024
    bodies_max_bytes: Bytes = 64 * _MIB
    suites_parsed_at_once_max: Count = 4
    loop_max_age_s: Seconds = 30.0

    @property
    def is_shared(self) -> bool:
        """Return whether other masters may use the same database."""
        return self.database_url.startswith(POSTGRESQL_PREFIX)

    @property
    def certificate_files(self) -> CertificateFiles:
        """The files of the server's TLS context."""
        return CertificateFiles(
            self.certificate_file, self.key_file, self.client_ca_file, self.client_crl_file
        )

    def database_password(self) -> str | None:
        """Return the database password; raises OSError if the password file cannot be read."""
        if self.database_password_file is None:
            return None
        return self.database_password_file.read_text(encoding="utf-8").strip()


def load(path: Path) -> Settings:
    """Read the settings file at `path`.

    Raises ffrtmp_shared.config.ConfigError if the file cannot be read or its content is not valid.
    """
    settings = config.load(path, Settings)
    if not settings.database_url.startswith((SQLITE_PREFIX, POSTGRESQL_PREFIX)):
        raise config.ConfigError(
            f"{path}: database_url must begin with {SQLITE_PREFIX} or {POSTGRESQL_PREFIX}"
        )
    problem = _database_url_problem(settings.database_url)
    if problem is not None:
        raise config.ConfigError(f"{path}: database_url {problem}")
    if settings.heartbeat_s * 2 > settings.lease_s:
        raise config.ConfigError(
            f"{path}: heartbeat_s must be at most half of lease_s, or one lost heartbeat "
            "would end a lease"
        )
    for proxy in settings.trusted_proxies:
        try:
            ipaddress.ip_network(proxy, strict=False)
        except ValueError as error:
            raise config.ConfigError(f"{path}: trusted_proxies: {error}") from error
    return settings


def _database_url_problem(text: str) -> str | None:
    """Return why the URL of a database is not accepted, without any part of it, or None."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        return (
            "is not a valid URL; it must look like sqlite:////DIRECTORY/farm.db or "
            "postgresql://USER@HOST:5432/DATABASE"
        )
    if not text.isprintable():
        return "contains a line feed or another control character"
    if url.password is not None or any("password" in name for name in url.query):
        return (
            "contains a password, which messages would show; put it into a file and set "
            "database_password_file"
        )
    return None


def missing_files(settings: Settings) -> list[str]:
    """Return one message for each file or directory in the settings that does not exist."""
    found = [
        f"{name}: there is no file {path}"
        for name, path in (
            ("certificate_file", settings.certificate_file),
            ("key_file", settings.key_file),
            ("database_password_file", settings.database_password_file),
            ("client_ca_file", settings.client_ca_file),
            ("client_crl_file", settings.client_crl_file),
            ("price_book_file", settings.price_book_file),
        )
        if path is not None and not path.is_file()
    ]
    if not settings.data_dir.is_dir():
        found.append(f"data_dir: there is no directory {settings.data_dir}")
    return found
