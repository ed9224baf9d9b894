"""Settings, credentials and certificates of a local farm, in the directory of its session."""

import hashlib
import json
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from ffrtmp_shared.comparison_threads import MAX_THREADS

from ffrtmp_cli.local.certificates import write_certificates, write_private
from ffrtmp_cli.local.ffmpeg_programs import Programs

ADDRESS = "127.0.0.1"
NODE = "local"
FARM_NAME = "local"

MIN_FREE_BYTES = 256 * 1024 * 1024
"""Free space without which the agent does not start a job, in bytes."""

_LEASE_S = 20.0
_HEARTBEAT_S = 5.0
# Each Ctrl-C ends an attempt of the job that is being measured.
_MAX_ATTEMPTS = 10
_CACHE_MAX_BYTES = 4 * 1024**3


@dataclass(frozen=True)
class FarmFiles:
    """The files of a local farm.

    Attributes:
        folder: The directory of the session.
        url: The URL of the master.
        token: The token with which the command uses the API.
    """

    folder: Path
    url: str
    token: str

    @property
    def ca(self) -> Path:
        """The certificate of the authority that has issued the master's certificate."""
        return self.folder / "ca.pem"

    @property
    def master_settings(self) -> Path:
        """The settings file of the master."""
        return self.folder / "master.yml"

    @property
    def agent_settings(self) -> Path:
        """The settings file of the agent."""
        return self.folder / "agent.yml"

    @property
    def energy_settings(self) -> Path:
        """The settings file of the energy reader."""
        return self.folder / "energy-reader.yml"

    @property
    def credentials(self) -> Path:
        """The credentials that the master accepts."""
        return self.folder / "credentials.yml"


def write_farm_files(
    folder: Path,
    cache: Path,
    programs: Programs,
    *,
    port: int,
    energy_socket: Path | None,
    allow_builds: bool,
) -> FarmFiles:
    """Write new certificates, tokens and settings.

    Args:
        folder: The directory of the session, which only the user can read.
        cache: The directory of the agent's caches.
        programs: The programs to measure with.
        port: The port that the master listens on.
        energy_socket: The socket of the energy reader, or None if there is none.
        allow_builds: Whether FFmpeg builds that the suite provides may run.

    Returns:
        The files.

    Raises:
        OSError: A file cannot be written.
    """
    files = FarmFiles(folder, f"https://{ADDRESS}:{port}", secrets.token_urlsafe(32))
    agent_token = secrets.token_urlsafe(32)
    write_certificates(folder, ADDRESS)
    write_private(folder / "agent.token", agent_token.encode())
    (folder / "data").mkdir(exist_ok=True)
    # Only one farm runs at a time. Work that a killed process has left belongs to no session.
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(
        files.credentials,
        {
            "credentials": [
                {"name": "user", "role": "admin", "sha256": _digest(files.token)},
                {"name": NODE, "role": "agent", "node": NODE, "sha256": _digest(agent_token)},
            ]
        },
    )
    _write(
        files.master_settings,
        {
            "listen_address": ADDRESS,
            "listen_port": port,
            "certificate_file": str(folder / "master.pem"),
            "key_file": str(folder / "master.key"),
            # Relative to the working directory of the process, because a path may contain
            # characters that have a meaning in URLs.
            "database_url": "sqlite:///farm.db",
            "data_dir": str(folder / "data"),
            "lease_s": _LEASE_S,
            "heartbeat_s": _HEARTBEAT_S,
            "node_offline_s": _LEASE_S,
            "max_attempts": _MAX_ATTEMPTS,
            "retry_backoff_s": 0.1,
            # The disk is the user's. The command checks its free space before it starts.
            "reserved_bytes": MIN_FREE_BYTES // 4,
            "log_level": "warning",
        },
    )
    _write(
        files.agent_settings,
        {
            "master_url": files.url,
            "token_file": str(folder / "agent.token"),
            "ca_file": str(files.ca),
            "node_name": NODE,
            "address": ADDRESS,
            "work_dir": str(work),
            "spool_dir": str(folder / "spool"),
            "cache_dir": str(cache),
            "cache_max_bytes": _CACHE_MAX_BYTES,
            "ffmpeg": str(programs.ffmpeg.path),
            "ffprobe": str(programs.ffprobe.path),
            "quality_ffmpeg": str(programs.quality_ffmpeg.path),
            "vmaf_threads": min(len(os.sched_getaffinity(0)), MAX_THREADS),
            # Measuring the idle power before each encode would take longer than the encode.
            "energy_idle_s": 0,
            "min_free_bytes": MIN_FREE_BYTES,
            "allow_ffmpeg_under_test": allow_builds,
            **({} if energy_socket is None else {"energy_socket": str(energy_socket)}),
        },
    )
    if energy_socket is not None:
        _write(
            files.energy_settings,
            {"socket": str(energy_socket), "state_file": str(folder / "energy.json")},
        )
    return files


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _write(file: Path, document: object) -> None:
    # JSON is YAML.
    write_private(file, json.dumps(document, ensure_ascii=False, indent=2).encode())
