#!/usr/bin/python
"""Install several configuration files in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: config_files
short_description: Install several configuration files with one task
description:
  - Renders templates and reads files on the control node, and installs on the host those that
    differ in content, owner, group or permissions.
  - Separate tasks would start Python twice on the host for each file, even if nothing changes. This
    module starts it once for all files of a service. With C(--diff), it shows the changes of each
    file.
  - Each file is replaced atomically, after O(files[].validate) has accepted it. If a file is
    rejected, the files before it remain installed, and the files after it are not changed.
  - A unit or drop-in file of systemd is refused, and no file is changed, if it has a line that
    systemd would ignore, such as V(MemoryMax=8GB).
  - Missing parent directories are created with the permissions 0755, owned by root.
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
    description: Runs on POSIX hosts with Python 3.11 or later; needs only its standard library.
options:
  files:
    description:
      - The files, installed in this order.
    type: list
    elements: dict
    required: true
    suboptions:
      dest:
        description:
          - Path of the file on the host.
        type: path
        required: true
      template:
        description:
          - Template on the control node. It is searched for as by M(ansible.builtin.template).
          - Either this or O(files[].copy) is required.
        type: path
      copy:
        description:
          - File on the control node. It is searched for as by M(ansible.builtin.copy).
        type: path
      vars:
        description:
          - Additional variables for the template.
        type: dict
      owner:
        description:
          - Owner of the file.
        type: str
        default: root
      group:
        description:
          - Group of the file.
        type: str
        default: root
      mode:
        description:
          - Permissions of the file, as an octal string.
        type: str
        default: "0644"
      validate:
        description:
          - Command that must accept the new file; V(%s) is replaced with its path. It runs without
            a shell.
        type: str
      secret:
        description:
          - Whether the content of the file is hidden in diffs.
        type: bool
        default: false
"""

EXAMPLES = r"""
- name: Install the settings and the unit of a service
  config_files:
    files:
      - template: service.yml.j2
        dest: /etc/example/service.yml
        group: example
        mode: "0640"
        validate: /usr/bin/example --check %s
      - template: example.service.j2
        dest: /etc/systemd/system/example.service
      - copy: "{{ secrets_dir }}/token"
        dest: /etc/example/token
        group: example
        mode: "0640"
        secret: true
  notify: Restart the service
"""

RETURN = r"""
changed_files:
  description: Paths of the files that were, or would be, changed.
  returned: success
  type: list
  elements: str
  sample: [/etc/example/service.yml]
"""

import base64
import json
import os
import re
import shlex
import tempfile
import zlib
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

UNIT_FILE = re.compile(
    r"/etc/systemd/system/(?P<name>[^/]+\.(service|timer|socket))(\.d/[^/]+\.conf)?$"
)
"""Paths of units and of their drop-in files."""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        # The action plugin packs the files into the payload, which contains secrets.
        argument_spec={"payload": {"type": "str", "required": True, "no_log": True}},
        supports_check_mode=True,
    )
    files = unpack(module)
    for file in files:
        check_unit(module, file)
    diffs = []
    changed = []
    for file in files:
        try:
            diff = install(module, file)
        except OSError as error:
            cause = f"{file['dest']} cannot be installed: {error.strerror} ({error.filename})"
        else:
            cause = ""
        if cause:
            module.fail_json(msg=cause)
        if diff is not None:
            changed.append(file["dest"])
            diffs.append(diff)
    module.exit_json(changed=bool(changed), changed_files=changed, diff=diffs)


def unpack(module: AnsibleModule) -> list[dict[str, Any]]:
    """Return the files in the payload. Fail the module if the action plugin did not create it."""
    files: list[dict[str, Any]] | None
    try:
        files = json.loads(zlib.decompress(base64.b64decode(module.params["payload"])))
    except (ValueError, zlib.error):
        files = None
    if not isinstance(files, list) or not all(
        isinstance(file, dict) and {"dest", "content", "is_secret"} <= file.keys() for file in files
    ):
        # The payload may contain secrets, so no part of it is shown.
        module.fail_json(
            msg="the payload is not valid: use the action config_files with the option files, and "
            "set action_plugins in ansible.cfg"
        )
    return files


def install(module: AnsibleModule, file: dict[str, Any]) -> dict[str, str] | None:
    """Install a file if it differs. Return the diff, or None if nothing differs."""
    dest = Path(file["dest"])
    wanted = base64.b64decode(file["content"])
    present = dest.read_bytes() if dest.is_file() else None
    if present != wanted and not module.check_mode:
        write(module, file, wanted)
    attributes = {
        "path": str(dest),
        "owner": file.get("owner", "root"),
        "group": file.get("group", "root"),
        "mode": file.get("mode", "0644"),
        "secontext": module.selinux_default_context(str(dest)),
        "attributes": None,
    }
    difference: dict[str, Any] = {}
    # In check mode a new file has no attributes, and its owner may not exist yet.
    has_other_attributes = dest.exists() and module.set_fs_attributes_if_different(
        attributes, False, difference
    )
    if present == wanted and not has_other_attributes:
        return None
    return {
        "before_header": str(dest),
        "after_header": str(dest),
        "before": text_of(present, file, difference.get("before")),
        "after": text_of(wanted, file, difference.get("after")),
    }


def text_of(content: bytes | None, file: dict[str, Any], attributes: dict[str, Any] | None) -> str:
    """Return the text that represents a file in a diff: its changed attributes and its content.

    Args:
        content: Content of the file, or None if it does not exist.
        file: Entry of the file in the payload.
        attributes: Changed attributes, if any.
    """
    shown = "".join(
        f"# {name}: {value}\n" for name, value in (attributes or {}).items() if name != "path"
    )
    if content is None:
        return shown
    if file["is_secret"]:
        return shown + "# the content is secret\n"
    return shown + content.decode(errors="replace")


def check_unit(module: AnsibleModule, file: dict[str, Any]) -> None:
    """Fail the module if a file is a unit with a line that systemd would ignore.

    The programs of the unit may not be installed yet, so other messages are not considered.
    """
    found = UNIT_FILE.match(file["dest"])
    wanted = base64.b64decode(file["content"])
    if not found or (Path(file["dest"]).is_file() and Path(file["dest"]).read_bytes() == wanted):
        return
    with tempfile.TemporaryDirectory() as folder:
        unit = Path(folder) / found["name"]
        unit.write_bytes(wanted)
        command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)]
        _, _, err = module.run_command(command, environ_update={"LC_ALL": "C.UTF-8"})
    problems = []
    for line in err.splitlines():
        number, _, message = line.removeprefix(f"{unit}:").partition(": ")
        if line.startswith(f"{unit}:") and number.isdigit():
            text = wanted.decode(errors="replace").splitlines()[int(number) - 1]
            problems.append(f"{text.strip()} ({message})")
    if problems:
        module.fail_json(
            msg=f"{file['dest']} was not changed, because systemd would ignore "
            f"{', '.join(problems)}. Correct the variable that sets this value."
        )


def write(module: AnsibleModule, file: dict[str, Any], content: bytes) -> None:
    """Replace a file atomically, after its command has accepted the new content.

    Args:
        module: The module, which runs the command and moves the file.
        file: Entry of the file in the payload.
        content: New content.
    """
    dest = Path(file["dest"])
    for parent in reversed(dest.parents):
        if not parent.exists():
            parent.mkdir()
            parent.chmod(0o755)
    # The temporary file is in the same directory, so that the move is an atomic rename.
    handle, temporary = tempfile.mkstemp(prefix=".ansible_tmp", dir=dest.parent)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(content)
        if file.get("validate") is not None:
            check(module, file, temporary)
        module.atomic_move(temporary, str(dest))
    finally:
        Path(temporary).unlink(missing_ok=True)


def check(module: AnsibleModule, file: dict[str, Any], temporary: str) -> None:
    """Fail the module if the command rejects the new content of a file.

    Args:
        module: The module, which runs the command.
        file: Entry of the file in the payload. In its command, `%s` is replaced with `temporary`.
        temporary: Path of a temporary file with the new content.
    """
    command = [word.replace("%s", temporary) for word in shlex.split(file["validate"])]
    code, out, err = module.run_command(command)
    if code == 0:
        return
    # A checker may show the line that it rejects.
    reason = "its output is secret" if file["is_secret"] else (err or out).strip()
    module.fail_json(
        msg=f"{file['dest']} was not changed: {shlex.join(command)} rejects the new content: "
        f"{reason}",
        rc=code,
    )


if __name__ == "__main__":
    main()
