#!/usr/bin/python
"""Store the files of an archive with which a worker joins a farm."""

from __future__ import annotations

DOCUMENTATION = r"""
module: joined_node
short_description: Store the files of an archive with which a worker joins a farm
description:
  - Checks an archive of M(join_archive) and stores its files in the directory of secrets of the
    worker's control node, from which the roles copy them to the host. A revocation list that the
    same CA issued later, and that another archive has brought, is kept.
  - Fails, without changing a file, if the archive is damaged, contains other files, has expired,
    is older than the stored one or belongs to another farm, or if its certificate and key do not
    belong together.
version_added: "0.2.0"
author:
  - The ffmpeg-rtmp authors
extends_documentation_fragment:
  - action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  platform:
    support: full
    platforms: posix
    description: Runs on the control node with Python 3.11 or later and cryptography.
options:
  path:
    description:
      - Path of the archive, which must be readable only for its owner.
    type: path
    required: true
  dest:
    description:
      - Directory of secrets. The files are stored in its subdirectories C(pki), C(tokens) and
        C(join).
    type: path
    required: true
seealso:
  - module: join_archive
"""

EXAMPLES = r"""
- name: Store the files of the archive
  joined_node:
    path: /home/admin/w3.tar
    dest: .secrets/joined
  delegate_to: localhost
"""

RETURN = r"""
node:
  description: Name of the node that the archive lets join.
  returned: success
  type: str
  sample: w3
expires_at:
  description: Time at which the certificate expires, in UTC.
  returned: success
  type: str
  sample: "2027-03-01T12:00:00Z"
changed_files:
  description: Paths of the files that were, or would be, changed.
  returned: success
  type: list
  elements: str
  sample: [.secrets/joined/pki/hosts/w3.pem]
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.ffrtmp import join_archive, join_certificates
from ansible.module_utils.ffrtmp.argument_spec import create_module
from ansible.module_utils.ffrtmp.join_archive import JoinArchive, JoinArchiveError

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "path": {"type": "path", "required": True},
    "dest": {"type": "path", "required": True},
}


def targets(archive: JoinArchive, dest: Path) -> dict[Path, bytes]:
    """Return the content of each file below the directory of secrets, in the order of writing.

    The record is last, so that an interrupted run does not leave a record without the other files.
    """
    node, files = archive.node, archive.files
    revocations = dest / "pki/crl.pem"
    record = {"node": node, "expires_at": archive.expires_at, "settings": archive.settings}
    return {
        dest / "pki/ca.pem": files["ca.pem"],
        revocations: join_certificates.newest_revocations(archive, revocations),
        dest / f"pki/hosts/{node}.key": files["host.key"],
        dest / f"pki/hosts/{node}.pem": files["host.pem"],
        dest / f"tokens/agent-{node}": files["agent.token"],
        dest / f"join/{node}.json": json.dumps(record, indent=2, sort_keys=True).encode() + b"\n",
    }


def check_directory(archive: JoinArchive, dest: Path) -> None:
    """Check that the directory does not contain other secrets.

    Raises:
        JoinArchiveError: The directory is that of a farm, of workers of another farm, or contains
            a newer certificate of this node.
    """
    remedy = "Use another directory: set farm_name in the inventory of the worker."
    if (dest / "pki/ca.key").exists():
        raise JoinArchiveError(f"{dest} contains the key of a farm's CA. {remedy}")
    others = sorted({path.stem for path in (dest / "join").glob("*.json")} - {archive.node})
    authority = dest / "pki/ca.pem"
    if others and authority.is_file() and authority.read_bytes() != archive.files["ca.pem"]:
        raise JoinArchiveError(
            f"{dest} contains the certificates of {', '.join(others)} in a farm with another CA. "
            f"{remedy}"
        )
    stored = dest / f"pki/hosts/{archive.node}.pem"
    if stored.is_file() and authority.is_file():
        same_authority = authority.read_bytes() == archive.files["ca.pem"]
        present = join_certificates.load_certificate(stored)
        offered = join_certificates.parse(archive).host
        if same_authority and offered.not_valid_before_utc < present.not_valid_before_utc:
            raise JoinArchiveError(
                f"The archive of {archive.node} is older than the certificate that is in use "
                f"({stored}). Use the newest archive, or delete this file."
            )


def store(content: dict[Path, bytes], *, is_dry: bool) -> list[Path]:
    """Write the files that differ, in private directories, and return their paths."""
    changed = []
    for path, wanted in content.items():
        is_private = path.is_file() and not path.stat().st_mode & 0o077
        if is_private and path.read_bytes() == wanted:
            continue
        changed.append(path)
        if not is_dry:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            join_archive.write(path, wanted)
    return changed


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    dest = Path(module.params["dest"])
    cause, now = "", datetime.now(UTC)
    try:
        archive = join_archive.unpack(join_archive.read(Path(module.params["path"])))
        join_archive.check_expiry(archive, now)
        join_certificates.check(archive, now)
        check_directory(archive, dest)
        if not module.check_mode:
            dest.mkdir(mode=0o700, parents=True, exist_ok=True)
        changed = store(targets(archive, dest), is_dry=module.check_mode)
    except JoinArchiveError as error:
        cause = str(error)
    except OSError as error:
        cause = f"{error.filename or dest} cannot be used: {error.strerror}"
    # Outside the handlers, because Ansible would otherwise add the messages of all causes.
    if cause:
        module.fail_json(msg=cause)
    names = [str(path) for path in changed]
    module.exit_json(
        changed=bool(names),
        node=archive.node,
        expires_at=archive.expires_at,
        changed_files=names,
        # The contents are secret.
        diff={
            "before_header": str(dest),
            "after_header": str(dest),
            "before": "",
            "after": "".join(f"# {name}\n" for name in names),
        },
    )


if __name__ == "__main__":
    main()
