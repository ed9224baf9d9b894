"""Action plugin of the module config_files, which reads and renders the files."""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.parsing.vault import is_encrypted
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

# Ansible's setting module_utils applies only to modules, but this plugin runs on the control node.
_MODULE_UTILS = str(Path(__file__).resolve().parents[2] / "module_utils")
if _MODULE_UTILS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_MODULE_UTILS)

from ansible.module_utils.ffrtmp import options  # noqa: E402

_SOURCES = ("template", "copy")
_ATTRIBUTES = ("owner", "group", "mode", "validate")
_READABLE = "0444"
_TYPES: dict[str, type | tuple[type, ...]] = {
    "dest": str,
    **dict.fromkeys(_SOURCES, str),
    "owner": (str, int, type(None)),
    "group": (str, int, type(None)),
    "mode": (str, type(None)),
    "validate": (str, type(None)),
    "vars": (Mapping, type(None)),
    # A value from the command line is a text.
    "secret": (bool, str),
}


class ActionModule(ActionBase):  # type: ignore[misc]
    """An action that sends the contents of all files to the host in one module call."""

    _supports_check_mode = True
    _supports_diff = True
    _VALID_ARGS = frozenset({"files"})

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Render or read each file, then let the module install those that differ."""
        del tmp
        result: dict[str, Any] = super().run(task_vars=task_vars)
        variables = task_vars or {}
        given = self._task.args.get("files")
        if not isinstance(given, list) or not all(isinstance(file, Mapping) for file in given):
            raise AnsibleActionFail("files must be a list of files, each with dest and others")
        files = [self._packed(file, variables) for file in given]
        root = self._templar.template(trust_as_template("{{ config_files_root | default('') }}"))
        if root:
            files = [_staged(file, Path(str(root))) for file in files]
        payload = base64.b64encode(zlib.compress(json.dumps(files).encode())).decode()
        result.update(
            self._execute_module(
                module_name="config_files", module_args={"payload": payload}, task_vars=task_vars
            )
        )
        if not self._task.diff:
            result.pop("diff", None)
        # The invocation contains all files, including secrets.
        result.pop("invocation", None)
        return result

    def _packed(self, file: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of the module for one file."""
        _check(file)
        if "template" in file:
            content = self._render(file["template"], file.get("vars") or {}, variables)
        else:
            content = self._read(file["copy"])
        return {
            "dest": file["dest"],
            "content": base64.b64encode(content).decode(),
            "is_secret": boolean(file.get("secret", False)),
            **{name: str(file[name]) for name in _ATTRIBUTES if file.get(name) is not None},
        }

    def _read(self, name: str) -> bytes:
        """Return the content of a file, which is decrypted if Ansible Vault encrypted it."""
        source = self._find_needle("files", name)
        try:
            content = Path(source).read_bytes()
            if not is_encrypted(content):
                return content
            # Without a password for the vault, this fails with the name of the file.
            decrypted = self._loader.get_real_file(source)
            try:
                return Path(decrypted).read_bytes()
            finally:
                self._loader.cleanup_tmp_file(decrypted)
        except OSError as error:
            raise AnsibleActionFail(f"copy: {source} cannot be read: {error.strerror}") from error

    def _render(self, name: str, own: dict[str, Any], variables: dict[str, Any]) -> bytes:
        source = Path(self._find_needle("templates", name))
        templar = self._templar.copy_with_new_env(
            searchpath=[str(source.parent)], available_variables={**variables, **own}
        )
        text = templar.template(
            trust_as_template(self._loader.get_text_file_contents(str(source))),
            escape_backslashes=False,
            overrides={"trim_blocks": True},
        )
        return str(text).encode()


def _staged(file: Mapping[str, str], root: Path) -> dict[str, str]:
    """Return the arguments of the module for a file that a container mounts.

    The users, groups and programs of the container do not exist on this host, so the file belongs
    to the user of this process, every user may read it, and it is not validated. Its directory
    must therefore be private.
    """
    return {
        "dest": str(root / file["dest"].lstrip("/")),
        "content": file["content"],
        "is_secret": file["is_secret"],
        "owner": str(os.getuid()),
        "group": str(os.getgid()),
        "mode": _READABLE,
    }


def _check(file: Mapping[str, Any]) -> None:
    """Raise AnsibleActionFail unless the options of a file are complete and valid."""
    unknown = file.keys() - _TYPES.keys()
    sources = [name for name in _SOURCES if name in file]
    if unknown or "dest" not in file or len(sources) != 1:
        raise AnsibleActionFail(
            "each file needs dest and either template or copy; "
            f"{file.get('dest', 'an entry')} has {', '.join(sorted(file)) or 'nothing'}"
        )
    wrong = [name for name in file if not isinstance(file[name], _TYPES[name])]
    if wrong:
        raise AnsibleActionFail(
            f"{file['dest']}: the type of {', '.join(sorted(wrong))} is not valid: vars must be a "
            "dictionary, secret must be true or false, and the others must be texts"
        )
    texts = {name: value for name, value in file.items() if isinstance(value, str)}
    found = list(options.problems(texts))
    if found:
        raise AnsibleActionFail(f"{file['dest']}: {'. '.join(found)}")
    try:
        boolean(file.get("secret", False))
    except TypeError:
        raise AnsibleActionFail(f"{file['dest']}: secret must be true or false") from None
