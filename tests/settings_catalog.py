"""All settings of the roles and of the farm, read from argument specs, group_vars and playbooks."""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# Units by the end of a setting's name.
_UNITS = {
    "_bytes_per_s": "bytes/s",
    "_per_minute_max": "per minute",
    "_per_s_max": "per second",
    "_per_hour": "per hour",
    "_per_kwh": "per kWh",
    "_timeout": "s",
    "_s": "s",
    "_hours": "h",
    "_minutes": "min",
    "_days": "days",
    "_days_min": "days",
    "_bytes": "bytes",
    "_bytes_max": "bytes",
    "_bytes_min": "bytes",
    "_max_bytes": "bytes",
    "_mib": "MiB",
    "_w": "W",
    "_celsius": "°C",
    "_ratio": "ratio",
    "_ratio_max": "ratio",
    "_ratio_min": "ratio",
    "_kwh_per_day": "kWh per day",
    "_cost_budget_per_day": "currency per day",
    "_port": "port",
}
_COUNT = re.compile(r"(?:Maximum number|Minimum number|Number) of ")
_EXAMPLE = re.compile(r"(?:^| )Example: (.+)$")


@dataclass(frozen=True)
class Setting:
    """A variable that an inventory can set.

    Attributes:
        name: The name of the variable.
        kind: The type, with the type of the elements of a list.
        default: The default as YAML, or "" if the variable is required.
        description: The description, which may end with an example.
        choices: The allowed values, or "".
        is_template: Whether the default is calculated from other settings.
        fixed: The values that playbooks and roles pass; without any, an inventory sets the value.
        in_farm: The value in group_vars, which replaces the default of a role, or "".
        fields: Name and description of each field of the elements.
    """

    name: str
    kind: str
    default: str
    description: str
    choices: str = ""
    is_template: bool = False
    fixed: tuple[str, ...] = ()
    in_farm: str = ""
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def unit(self) -> str:
        """Unit of a number, "count" for a number of items, or ""."""
        if self.kind not in {"int", "float", "raw"}:
            return ""
        for suffix, unit in _UNITS.items():
            if self.name.endswith(suffix):
                return unit
        return "count" if _COUNT.search(self.description) else ""

    @property
    def example(self) -> str:
        """A value that the setting can have, or "" if neither text nor default contains one."""
        found = _EXAMPLE.search(self.description)
        if found:
            return found[1]
        if self.choices or self.kind == "bool":
            return self.choices or "true or false"
        if "for example" in self.description or "such as" in self.description:
            return self.description
        is_literal = not self.is_template and self.default not in {"", '""', "[]", "{}", "null"}
        return self.default if is_literal else ""


@dataclass(frozen=True)
class SettingGroup:
    """The settings of a role, or of a group of hosts.

    Attributes:
        name: The name of the role, or of the group.
        summary: One line about the role, or "".
        settings: The settings.
    """

    name: str
    summary: str
    settings: tuple[Setting, ...]


@functools.cache
def role_groups(root: Path) -> tuple[SettingGroup, ...]:
    """Return the settings of all roles."""
    fixed = fixed_values(root)
    in_farm = {
        name: _as_yaml(value)
        for file in sorted((root / "group_vars").glob("*.yml"))
        for name, value in _load(file).items()
    }
    groups = []
    for folder in sorted((root / "roles").iterdir()):
        specs = _load(folder / "meta/argument_specs.yml")["argument_specs"]
        options: dict[str, Any] = {}
        for spec in specs.values():
            # The first entry point describes what several of them have.
            added = spec["options"].items()
            options |= {name: option for name, option in added if name not in options}
        settings = tuple(_setting(name, options[name], fixed, in_farm) for name in options)
        groups.append(SettingGroup(folder.name, specs["main"]["short_description"], settings))
    return tuple(groups)


@functools.cache
def farm_groups(root: Path) -> tuple[SettingGroup, ...]:
    """Return the settings of the farm that belong to no role, by the group of their hosts."""
    known = {setting.name for group in role_groups(root) for setting in group.settings}
    groups = []
    for file in sorted((root / "group_vars").glob("*.yml")):
        values = _load(file)
        settings = tuple(
            Setting(
                name,
                _kind(values[name]),
                _as_yaml(values[name]),
                description,
                is_template="{{" in str(values[name]) or "{%" in str(values[name]),
            )
            for name, description in described(file)
            if name not in known
        )
        if settings:
            groups.append(SettingGroup(file.stem, "", settings))
    return tuple(groups)


def described(file: Path) -> Iterator[tuple[str, str]]:
    """Yield each variable of a file with the comment above it.

    Raises:
        ValueError: Several variables have the same comment, or one has none.
    """
    text = file.read_text(encoding="utf-8").removeprefix("---\n").strip()
    for block in text.split("\n\n"):
        comment = " ".join(line[1:].strip() for line in block.splitlines() if line.startswith("#"))
        names = re.findall(r"^([a-z]\w*):", block, re.MULTILINE)
        if len(names) > 1 or (names and not comment):
            raise ValueError(f"{file}: each of these needs its own comment: {', '.join(names)}")
        if names:
            yield names[0], " ".join(comment.split())


@functools.cache
def fixed_values(root: Path) -> Mapping[str, tuple[str, ...]]:
    """Return the variables that playbooks and other roles pass to roles, with their values.

    No inventory can change them.
    """
    found: dict[str, set[str]] = {}
    # These deploy no hosts of a farm, so they do not restrict what its inventory can set.
    others = {"stack.yml", "machines-up.yml", "machines-down.yml"}
    playbooks = [path for path in (root / "playbooks").glob("*.yml") if path.name not in others]
    for file in [*playbooks, *(root / "roles").glob("*/tasks/*.yml")]:
        for name, value in _passed(_load(file)):
            found.setdefault(name, set()).add(_as_yaml(value))
    return {name: tuple(sorted(values)) for name, values in found.items()}


def _passed(items: list[dict[str, Any]] | None) -> Iterator[tuple[str, Any]]:
    """Yield the variables that plays or tasks pass to roles."""
    for item in items or []:
        for key in ("pre_tasks", "tasks", "post_tasks", "block", "rescue", "always"):
            yield from _passed(item.get(key))
        for role in item.get("roles", []):
            yield from role.get("vars", {}).items()
        if {"ansible.builtin.include_role", "ansible.builtin.import_role"} & item.keys():
            yield from item.get("vars", {}).items()


def _setting(
    name: str,
    option: dict[str, Any],
    fixed: Mapping[str, tuple[str, ...]],
    in_farm: dict[str, str],
) -> Setting:
    default = option.get("default")
    kind = option.get("type", "str")
    elements = option.get("elements")
    return Setting(
        name=name,
        kind=f"list of {elements}" if elements else kind,
        default="" if option.get("required") else _as_yaml(default),
        description=_one_line(option["description"]),
        choices=", ".join(map(str, option.get("choices", []))),
        is_template="{{" in str(default) or "{%" in str(default),
        fixed=fixed.get(name, ()),
        in_farm=in_farm.get(name, ""),
        fields=tuple(
            (field, _one_line(spec["description"]))
            for field, spec in option.get("options", {}).items()
        ),
    )


def _one_line(description: str | list[str]) -> str:
    paragraphs = [description] if isinstance(description, str) else description
    return " ".join(" ".join(paragraphs).split())


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, dict):
        return "dict"
    if isinstance(value, list):
        return "list"
    return "int" if isinstance(value, int) else "str"


def _as_yaml(value: Any) -> str:
    """Return a value on one line, as it can be written in an inventory."""
    if isinstance(value, str) and value and "{{" not in value and "{%" not in value:
        return (
            yaml.safe_dump(value, default_style=None, width=10_000).removesuffix("\n...\n").strip()
        )
    if isinstance(value, str):
        return " ".join(value.split()) or '""'
    return json.dumps(value, ensure_ascii=False)


def _load(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))
