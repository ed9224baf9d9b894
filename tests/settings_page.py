"""The page docs/settings.md, generated from the argument specs, group_vars and playbooks.

`make settings-page` writes the page. `make settings` prints one line for each setting.
"""

import argparse
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from settings_catalog import Setting, SettingGroup, farm_groups, role_groups

PAGE = "docs/settings.md"
_LONG_CHARACTERS = 240
_INTRODUCTION = """\
# Settings

This page lists every setting of the farm and of its roles, with its type, unit, default and
meaning. It is generated from the argument specs of the roles and from `group_vars/`
(`make settings-page`). `make settings` prints the same list in the terminal, and
`make settings ROLE=worker` the manual of one role.

Set a variable in your inventory: for all hosts in `inventories/NAME/group_vars/all/`, for the hosts
of one group in `inventories/NAME/group_vars/GROUP/`, for one host in
`inventories/NAME/host_vars/HOST.yml`. Then run `site.yml`
([Change a setting](operating.md#change-a-setting)). An inventory sets only what differs from the
defaults.

- The column *type* contains the unit of numbers. It is not part of the value: a size in bytes is
  written as `2147483648`. A limit in systemd's notation, such as `2G`, has the type `str`.
- A default with `{{ }}` is calculated from other settings.
- *In a farm:* is the value in `group_vars/`, which replaces the default of the role. Your inventory
  can replace it.
- *Fixed:* is the value that the playbooks pass to the role. A value in your inventory has no
  effect; change the settings from which it is calculated. Playbooks of your own can pass others.
- *Required* settings have no default. The playbooks pass most of them.
"""
_GROUPS = {
    "all": "All hosts",
    "load_balancer": "Load balancers",
    "master": "Masters",
    "monitoring": "Monitoring hosts",
    "postgresql": "PostgreSQL hosts",
    "rtmp_server": "RTMP servers",
    "worker": "Workers",
}


def settings_page(root: Path) -> str:
    """Return the text of the page."""
    parts = [_INTRODUCTION, "## The farm\n"]
    for group in farm_groups(root):
        heading = f"### {_GROUPS[group.name]} (`group_vars/{group.name}`)\n"
        parts += [heading, _table(group)]
    parts.append("## Roles\n")
    for group in role_groups(root):
        parts += [f"### Role {group.name}\n", f"{group.summary}.\n", _table(group)]
    return "\n".join(parts)


def settings_list(root: Path) -> Iterator[str]:
    """Yield the lines of a list of all settings for the terminal."""
    for group in farm_groups(root) + role_groups(root):
        yield f"{group.name}: {group.summary or _GROUPS[group.name]}"
        for setting in group.settings:
            yield f"  {setting.name} ({setting.unit or setting.kind}) = {_value(setting)}"
            yield f"      {setting.description}"


def _table(group: SettingGroup) -> str:
    lines = ["| setting | type | default | meaning |", "|---|---|---|---|"]
    for setting in group.settings:
        lines += [
            f"| `{setting.name}` | {_type(setting)} | {_defaults(setting)} "
            f"| {_text(setting.description)} |"
        ]
        parent = f"{setting.name}[]" if setting.kind.startswith("list") else setting.name
        lines += [
            f"| `{parent}.{name}` | | | {_text(description)} |"
            for name, description in setting.fields
        ]
    return "\n".join(lines) + "\n"


def _type(setting: Setting) -> str:
    words = [setting.kind]
    if setting.unit:
        words.append(setting.unit)
    if setting.choices:
        words.append(f"one of {setting.choices}")
    return ", ".join(words)


def _defaults(setting: Setting) -> str:
    """Return the default, what replaces it in a farm, and what the playbooks pass."""
    found = [_code(setting.default) if setting.default else "required"]
    if len(setting.fixed) > 1:
        return f"{found[0]}. *Fixed* by the playbooks and roles that use it"
    if setting.fixed:
        return f"{found[0]}. *Fixed:* {_code(setting.fixed[0])}"
    if setting.in_farm:
        found.append(f"*In a farm:* {_code(setting.in_farm)}")
    return ". ".join(found)


def _value(setting: Setting) -> str:
    if len(setting.fixed) > 1:
        return "set by the playbooks"
    if setting.fixed:
        return setting.fixed[0]
    return setting.in_farm or setting.default or "required"


def _code(value: str) -> str:
    if len(value) > _LONG_CHARACTERS:
        return "a longer expression"
    return f"`{value}`".replace("|", "\\|")


def _text(description: str) -> str:
    return description.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def main() -> None:
    """Write the page, or print the list of all settings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["write", "list"])
    action = parser.parse_args().action
    root = Path(__file__).resolve().parents[1]
    if action == "list":
        # The list is often read with a pager, which may end first.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        sys.stdout.writelines(f"{line}\n" for line in settings_list(root))
    else:
        (root / PAGE).write_text(settings_page(root), encoding="utf-8")


if __name__ == "__main__":
    main()
