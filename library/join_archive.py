#!/usr/bin/python
"""Write the archive with which a worker of another inventory joins the farm."""

from __future__ import annotations

DOCUMENTATION = r"""
module: join_archive
short_description: Write the archive with which a worker of another inventory joins the farm
description:
  - Writes a tar archive with the CA's certificate, the revocation list, the certificate and key of
    the worker's host, the token of its agents, and the settings of the farm that the worker needs.
    The archive states when it expires, which is the end of the certificate's validity.
  - The archive has the mode 0600. The same files result in the same archive.
  - Fails, without changing an existing archive, if the files do not belong together or the
    certificate is not valid at present.
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
  dest:
    description:
      - Path of the archive. Its directory must exist.
    type: path
    required: true
  name:
    description:
      - Name of the node, which is the common name of its certificate.
    type: str
    required: true
  ca_file:
    description:
      - Certificate of the farm's CA.
    type: path
    required: true
  crl_file:
    description:
      - Revocation list of this CA.
    type: path
    required: true
  certificate_file:
    description:
      - Certificate of the worker's host.
    type: path
    required: true
  key_file:
    description:
      - Private key of the certificate.
    type: path
    required: true
  token_file:
    description:
      - Token of the node's agents.
    type: path
    required: true
  address:
    description:
      - Name or IP address at which the monitoring reaches the worker. The certificate must be valid
        for it.
    type: str
    required: true
  master_url:
    description:
      - URL of the master's API.
    type: str
    required: true
  mutual_tls:
    description:
      - Whether the master requires the worker's certificate in addition to its token.
    type: bool
    default: false
  rtmp_url:
    description:
      - URL of the RTMP server for jobs of the kind live. An empty string means none.
    type: str
    default: ""
  rtmp_stat_url:
    description:
      - URL of the statistics of this RTMP server. An empty string means none.
    type: str
    default: ""
seealso:
  - module: joined_node
"""

EXAMPLES = r"""
- name: Write the archive of w3
  join_archive:
    dest: /home/admin/w3.tar
    name: w3
    ca_file: .secrets/prod/pki/ca.pem
    crl_file: .secrets/prod/pki/crl.pem
    certificate_file: .secrets/prod/pki/hosts/w3.pem
    key_file: .secrets/prod/pki/hosts/w3.key
    token_file: .secrets/prod/tokens/agent-w3
    address: 192.0.2.13
    master_url: https://192.0.2.10:8080
  delegate_to: localhost
"""

RETURN = r"""
path:
  description: Path of the archive.
  returned: success
  type: str
  sample: /home/admin/w3.tar
expires_at:
  description: Time at which the archive expires, in UTC.
  returned: success
  type: str
  sample: "2027-03-01T12:00:00Z"
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.ffrtmp import join_archive, join_certificates
from ansible.module_utils.ffrtmp.argument_spec import create_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "dest": {"type": "path", "required": True},
    "name": {"type": "str", "required": True},
    "ca_file": {"type": "path", "required": True},
    "crl_file": {"type": "path", "required": True},
    "certificate_file": {"type": "path", "required": True},
    "key_file": {"type": "path", "required": True, "no_log": False},
    "token_file": {"type": "path", "required": True, "no_log": False},
    "address": {"type": "str", "required": True},
    "master_url": {"type": "str", "required": True},
    "mutual_tls": {"type": "bool", "default": False},
    "rtmp_url": {"type": "str", "default": ""},
    "rtmp_stat_url": {"type": "str", "default": ""},
}

_SOURCES = {
    "agent.token": "token_file",
    "ca.pem": "ca_file",
    "crl.pem": "crl_file",
    "host.key": "key_file",
    "host.pem": "certificate_file",
}
_SETTINGS = ("address", "master_url", "mutual_tls", "rtmp_url", "rtmp_stat_url")


def collect(params: dict[str, Any], now: datetime) -> join_archive.JoinArchive:
    """Return the content of the archive.

    Raises:
        JoinArchiveError: A file cannot be read, or a worker could not use the archive.
    """
    files = {}
    for name, option in _SOURCES.items():
        try:
            files[name] = Path(params[option]).read_bytes()
        except OSError as error:
            raise join_archive.JoinArchiveError(
                f"{option} ({params[option]}) cannot be read: {error.strerror}. Deploy the farm "
                "first: site.yml"
            ) from error
    settings = {name: params[name] for name in _SETTINGS}
    archive = join_archive.JoinArchive(params["name"], "", settings, files)
    host = join_certificates.parse(archive).host
    archive = archive._replace(expires_at=join_certificates.expiry(host))
    join_certificates.check(archive, now)
    return archive


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    dest = Path(module.params["dest"])
    cause = ""
    try:
        archive = collect(module.params, datetime.now(UTC))
        content = join_archive.pack(archive)
        # The content is checked as by the worker's side.
        join_archive.unpack(content)
        is_current = dest.is_file() and dest.read_bytes() == content
        has_mode = is_current and dest.stat().st_mode & 0o777 == join_archive.MODE
        if not has_mode and not module.check_mode:
            join_archive.write(dest, content)
    except join_archive.JoinArchiveError as error:
        cause = str(error)
    except OSError as error:
        cause = f"{dest} cannot be read: {error.strerror}"
    # Outside the handlers, because Ansible would otherwise add the messages of all causes.
    if cause:
        module.fail_json(msg=cause)
    module.exit_json(
        changed=not has_mode,
        path=str(dest),
        expires_at=archive.expires_at,
        diff={
            "before_header": str(dest),
            "after_header": str(dest),
            "before": "",
            "after": "" if has_mode else f"# archive of {archive.node}, {archive.expires_at}\n",
        },
    )


if __name__ == "__main__":
    main()
