"""Archive with everything that a worker of another inventory needs to join the farm.

It is an uncompressed tar archive of six files: the CA's certificate, the revocation list, the
certificate and key of the host, the token of its agents, and `join.json`, which states the node,
the expiry, the digests of the other files and the settings of the farm.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from ansible.module_utils.ffrtmp.options import problem

ARCHIVE_MAX_BYTES = 4 * 2**20
"""Maximum size of an archive. A revocation list with 10,000 entries has 400 KB."""

FORMAT = 1
"""Version of the format."""

MANIFEST = "join.json"
"""Name of the file that describes the others."""

FILES = ("agent.token", "ca.pem", "crl.pem", "host.key", "host.pem")
"""Names of the other files."""

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
"""Format of the expiry, in UTC."""

_FILE_MAX_BYTES = 2**20
MODE = 0o600
"""Permissions of an archive and of the files in it."""

_FIELDS = {"format", "node", "expires_at", "files", "settings"}
_TEXT_SETTINGS = ("address", "master_url", "rtmp_url", "rtmp_stat_url")


class JoinArchiveError(Exception):
    """An archive that cannot be written or must not be used. The message is for the operator."""


class JoinArchive(NamedTuple):
    """The content of an archive.

    Attributes:
        node: Name of the node, which is also that of its host in an inventory.
        expires_at: End of the certificate's validity, in UTC as in ISO 8601.
        settings: `address`, `master_url`, `mutual_tls`, `rtmp_url` and `rtmp_stat_url`.
        files: Content of the files by name, without the manifest.
    """

    node: str
    expires_at: str
    settings: dict[str, Any]
    files: dict[str, bytes]


def pack(archive: JoinArchive) -> bytes:
    """Return the bytes of an archive, which depend only on its content."""
    manifest = {
        "format": FORMAT,
        "node": archive.node,
        "expires_at": archive.expires_at,
        "files": {name: hashlib.sha256(archive.files[name]).hexdigest() for name in FILES},
        "settings": archive.settings,
    }
    contents = {MANIFEST: json.dumps(manifest, indent=2, sort_keys=True).encode() + b"\n"}
    contents |= {name: archive.files[name] for name in FILES}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = MODE
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def write(path: Path, content: bytes) -> None:
    """Replace a file atomically by one that only its owner may read.

    Raises:
        JoinArchiveError: The file cannot be written.
    """
    temporary = None
    try:
        # The file is created with the mode 0600.
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise JoinArchiveError(f"{path} cannot be written: {error.strerror}") from error


def read(path: Path) -> bytes:
    """Return the bytes of an archive.

    Raises:
        JoinArchiveError: The file cannot be read, is too large, or can be read by other users.
    """
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise JoinArchiveError(f"{path} must be a regular file.")
            if stat.S_IMODE(found.st_mode) & 0o077:
                raise JoinArchiveError(
                    f"{path} contains a private key and a token, and its mode is "
                    f"{stat.S_IMODE(found.st_mode):04o}, so that other users may have read them. "
                    f"Set it with: chmod 600 {path}. On a computer with other users, also write a "
                    "new archive."
                )
            content = file.read(ARCHIVE_MAX_BYTES + 1)
    except OSError as error:
        raise JoinArchiveError(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > ARCHIVE_MAX_BYTES:
        raise JoinArchiveError(
            f"{path} has more than {ARCHIVE_MAX_BYTES} bytes, which is the limit for an archive of "
            "playbooks/join.yml."
        )
    return content


def unpack(content: bytes) -> JoinArchive:
    """Return the content of an archive whose form is valid.

    Its certificates are checked by `join_certificates.check`.

    Raises:
        JoinArchiveError: The archive does not have the form that `pack` produces.
    """
    contents = _members(content)
    manifest = _manifest(contents.pop(MANIFEST))
    for name in FILES:
        if hashlib.sha256(contents[name]).hexdigest() != manifest["files"][name]:
            raise JoinArchiveError(
                f"{name} in the archive does not have the digest that {MANIFEST} states. The "
                "archive was changed or damaged: copy it again."
            )
    token = contents["agent.token"].decode("latin-1").strip()
    if problem("token", token) is not None:
        raise JoinArchiveError("agent.token in the archive does not contain one token.")
    return JoinArchive(manifest["node"], manifest["expires_at"], manifest["settings"], contents)


def check_expiry(archive: JoinArchive, now: datetime) -> None:
    """Raise JoinArchiveError if the archive has expired at the time `now`."""
    expires = datetime.strptime(archive.expires_at, TIME_FORMAT).replace(tzinfo=UTC)
    if now >= expires:
        raise JoinArchiveError(
            f"The archive of {archive.node} expired at {archive.expires_at}. Write a new one on "
            f"the farm's side: ansible-playbook playbooks/join.yml -e node={archive.node}"
        )


def _members(content: bytes) -> dict[str, bytes]:
    """Return the content of the files, of which each must exist exactly once."""
    expected = {MANIFEST, *FILES}
    found: dict[str, bytes] = {}
    try:
        # Compressed archives are not accepted, because their content may have any size.
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            for member in tar:
                _check_member(member, expected - found.keys())
                file = tar.extractfile(member)
                found[member.name] = file.read() if file is not None else b""
    # Some damaged headers are reported as ValueError.
    except (tarfile.TarError, ValueError) as error:
        raise JoinArchiveError(
            f"The file is not a complete tar archive of playbooks/join.yml ({error})."
        ) from error
    missing = sorted(expected - found.keys())
    if missing:
        raise JoinArchiveError(f"The archive lacks {', '.join(missing)}: copy it again.")
    return found


def _check_member(member: tarfile.TarInfo, expected: set[str]) -> None:
    shown = repr(member.name[:100])
    if member.name not in expected:
        raise JoinArchiveError(
            f"The archive contains {shown}, which is not a file of an archive of "
            "playbooks/join.yml, or is contained twice."
        )
    if not member.isreg():
        raise JoinArchiveError(f"{shown} in the archive must be a regular file.")
    if member.mode != MODE:
        raise JoinArchiveError(f"{shown} in the archive has the mode {member.mode:04o}, not 0600.")
    if member.size > _FILE_MAX_BYTES:
        raise JoinArchiveError(
            f"{shown} in the archive has {member.size} bytes; the limit is {_FILE_MAX_BYTES}."
        )


def _manifest(content: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise JoinArchiveError(f"{MANIFEST} in the archive is not JSON.") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise JoinArchiveError(
            f"{MANIFEST} in the archive does not have the format {FORMAT}. Use the same release of "
            "ffmpeg-rtmp on both sides."
        )
    faults = [name for name, is_valid in _checks(manifest) if not is_valid]
    if faults:
        raise JoinArchiveError(
            f"{MANIFEST} in the archive has an invalid value: {', '.join(faults)}."
        )
    return manifest


def _checks(manifest: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Return each part of the manifest, and whether it is valid."""
    files, settings = manifest.get("files"), manifest.get("settings")
    return [
        ("fields", set(manifest) == _FIELDS),
        ("node", _is_accepted("name", manifest.get("node"))),
        ("expires_at", _is_time(manifest.get("expires_at"))),
        ("files", isinstance(files, dict) and set(files) == set(FILES)),
        *(
            (f"settings.{name}", is_valid)
            for name, is_valid in setting_checks(settings if isinstance(settings, dict) else {})
        ),
    ]


def setting_checks(settings: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Return the name of each setting of the farm, and whether its value is valid."""
    return [
        *((name, _is_accepted(name, settings.get(name))) for name in _TEXT_SETTINGS),
        ("mutual_tls", isinstance(settings.get("mutual_tls"), bool)),
        *((name[:64], False) for name in settings if name not in (*_TEXT_SETTINGS, "mutual_tls")),
    ]


def _is_accepted(name: str, value: Any) -> bool:
    return isinstance(value, str) and problem(name, value) is None


def _is_time(value: Any) -> bool:
    try:
        datetime.strptime(value, TIME_FORMAT).replace(tzinfo=UTC)
    except (TypeError, ValueError):
        return False
    return True
