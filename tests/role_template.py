"""Templates of roles, rendered as Ansible renders them."""

from pathlib import Path
from typing import Any

from ansible.template import Templar, trust_as_template
from role_templates import loader
from ruamel.yaml import YAML

_ROLES = Path(__file__).resolve().parents[1] / "roles"


def render(role: str, template: str, **variables: Any) -> str:
    """Return a rendered template of a role.

    Args:
        role: The name of the role.
        template: The file in the role's directory of templates.
        **variables: Variables that override the defaults of the role.
    """
    found: dict[str, Any] = {}
    for file in ("defaults/main.yml", "vars/main.yml"):
        path = _ROLES / role / file
        found |= (YAML(typ="safe").load(path) or {}) if path.is_file() else {}
    folder = _ROLES / role / "templates"
    text = (folder / template).read_text(encoding="utf-8")
    templar = Templar(loader=loader(), variables=_trusted(found | variables))
    searching = templar.copy_with_new_env(searchpath=[str(folder)])
    return str(searching.template(trust_as_template(text), overrides={"trim_blocks": True}))


def _trusted(value: Any) -> Any:
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, dict):
        return {key: _trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_trusted(item) for item in value]
    return value
