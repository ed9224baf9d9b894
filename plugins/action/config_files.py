"""Action plugin of the module config_files, which reads and renders the files."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

_SOURCES = ("template", "copy")
_ATTRIBUTES = ("owner", "group", "mode", "validate")


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
        files = [self._packed(file, variables) for file in self._task.args["files"]]
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
        unknown = file.keys() - {"dest", "vars", "secret", *_SOURCES, *_ATTRIBUTES}
        sources = [name for name in _SOURCES if name in file]
        if unknown or "dest" not in file or len(sources) != 1:
            raise AnsibleActionFail(
                "each file needs dest and either template or copy; "
                f"{file.get('dest', 'an entry')} has {', '.join(sorted(file)) or 'nothing'}"
            )
        if "template" in file:
            content = self._render(file["template"], file.get("vars") or {}, variables)
        else:
            content = Path(self._find_needle("files", file["copy"])).read_bytes()
        return {
            "dest": file["dest"],
            "content": base64.b64encode(content).decode(),
            "is_secret": boolean(file.get("secret", False)),
            **{name: str(file[name]) for name in _ATTRIBUTES if file.get(name) is not None},
        }

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
