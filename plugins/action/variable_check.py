"""Check the values of all variables that are set for a host, before anything is changed.

The variables are those of the argument specs of all roles and the settings in group_vars. Values
of --extra-vars are texts, so a text that means a value of the right type is accepted. The task
fails with a sentence for each error, which names the variable, its value and the accepted values.
Nothing is changed, so the plugin also runs in check mode.

The only option is:

check_names: Whether names that resemble those of variables are reported as misspelled. It must be
    false if roles have already set facts.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ansible.module_utils
import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.parsing.vault import EncryptedString, VaultHelper
from ansible.plugins.action import ActionBase

_ROOT = Path(__file__).resolve().parents[2]
# Ansible's setting module_utils applies only to modules, but this plugin runs on the control node.
if str(_ROOT / "module_utils") not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(str(_ROOT / "module_utils"))

from ansible.module_utils.ffrtmp.variable_problems import (  # noqa: E402
    conflicts,
    misspelled,
    value_problems,
)
from ansible.module_utils.ffrtmp.variable_rules import SECRET  # noqa: E402

Json = dict[str, Any]

_PREFIX = "farm_"
_COMMENTED = re.compile(r"((?:^#.*\n)+)([a-z0-9_]+):", re.MULTILINE)
# Types of the settings whose default is an expression that does not result in a text.
_COMPUTED = {"farm_agents": "int", "farm_joined_workers": "list"}


class ActionModule(ActionBase):  # type: ignore[misc]
    """An action that renders the variables of the host and compares them with the rules."""

    _supports_check_mode = True
    _requires_connection = False
    _VALID_ARGS = frozenset({"check_names"})

    def run(self, tmp: str | None = None, task_vars: Json | None = None) -> Json:
        """Fail with all errors in the values of variables."""
        result: Json = super().run(tmp, task_vars)
        variables = task_vars or {}
        options = variable_options()
        values: Json = {}
        found: list[str] = []
        derived: list[str] = []
        # A value may refer to the default of a role that is not part of this play.
        templar = self._templar.copy_with_new_env(
            available_variables={**self._defaults(), **variables}
        )
        for name in sorted(options.keys() & variables.keys()):
            given = variables[name]
            is_default = given in (settings().get(name), options[name].get("default"))
            try:
                values[name], is_secret = decrypted(templar.template(given))
            except AnsibleError as error:
                # A default may depend on something that this host does not have, the file of a
                # secret may not have been created yet, and only a role knows its own variables.
                is_later = SECRET.fullmatch(name) or "'__" in error.message
                if not (is_default or is_later):
                    found.append(f"{name} cannot be determined: {error.message}")
                continue
            (derived if is_default else found).extend(
                value_problems(name, options[name], values[name], is_secret=is_secret)
            )
        # An error in a default follows from another variable, which is reported instead.
        found = found or derived or list(conflicts(options, values))
        # Later, the variables contain facts that the roles set.
        if boolean(self._task.args.get("check_names", False)):
            found += misspelled(
                variables.keys(), options.keys() | _internal_names(), (*prefixes(), _PREFIX)
            )
        if found:
            host = variables.get("inventory_hostname", "the host")
            return {
                **result,
                "failed": True,
                "msg": f"Variables of {host} have values that the farm cannot use, and nothing was "
                f"changed. {' '.join(found)}",
            }
        return {**result, "changed": False}

    def _defaults(self) -> Json:
        """Return the defaults of all roles, as templates."""
        found: Json = {}
        for path in sorted((_ROOT / "roles").glob("*/defaults/main.yml")):
            found |= self._loader.load_from_file(str(path), trusted_as_template=True) or {}
        return found


def decrypted(value: Any) -> tuple[Any, bool]:
    """Return a value with its encrypted parts in clear text, and whether there are any."""
    if isinstance(value, str | EncryptedString):
        return str(value), VaultHelper.get_ciphertext(value, with_tags=False) is not None
    if isinstance(value, Mapping):
        pairs = {key: decrypted(content) for key, content in value.items()}
        return {key: found for key, (found, _) in pairs.items()}, any(p[1] for p in pairs.values())
    if isinstance(value, list | tuple):
        parts = [decrypted(element) for element in value]
        return [found for found, _ in parts], any(is_secret for _, is_secret in parts)
    return value, False


@functools.cache
def settings() -> Mapping[str, Any]:
    """Return the settings of all groups with their defaults."""
    found: Json = {}
    for path in _setting_files():
        found |= yaml.safe_load(path.read_text(encoding="utf-8"))
    return MappingProxyType(found)


def _setting_files() -> list[Path]:
    return sorted((_ROOT / "group_vars").glob("*.yml"))


@functools.cache
def _comments() -> Mapping[str, str]:
    """Return the comments above the settings of all groups."""
    return MappingProxyType(
        {
            found[2]: found[1]
            for path in _setting_files()
            for found in _COMMENTED.finditer(path.read_text(encoding="utf-8"))
        }
    )


@functools.cache
def prefixes() -> tuple[str, ...]:
    """Return the prefixes of the variables of roles."""
    return tuple(f"{path.name}_" for path in sorted((_ROOT / "roles").iterdir()))


@functools.cache
def _internal_names() -> frozenset[str]:
    """Return the variables that the playbooks define."""
    files = (_ROOT / "playbooks/vars").glob("*.yml")
    return frozenset(
        name for path in files for name in yaml.safe_load(path.read_text(encoding="utf-8"))
    )


@functools.cache
def variable_options() -> Mapping[str, Json]:
    """Return the variables of all roles as in the argument specs, and the settings of groups."""
    found: Json = {name: _option(name, value) for name, value in settings().items()}
    for path in sorted((_ROOT / "roles").glob("*/meta/argument_specs.yml")):
        specs = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
        for entry in specs.values():
            found |= entry["options"]
    return MappingProxyType(found)


def _option(name: str, value: Any) -> Json:
    """Return the option for a setting of a group, whose type follows from its default."""
    kinds = ((bool, "bool"), (int, "int"), (list, "list"), (dict, "dict"))
    kind = next((kind for base, kind in kinds if isinstance(value, base)), "str")
    kind = _COMPUTED.get(name, kind)
    return {"type": kind, "default": value, "description": _comments().get(name, "")}
